/** NBD: the server, and what it exports. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { NbdAddress } from '../../core/nbd.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandTable, flag, type Handler, isObject, needText, text } from './table.ts';

/** QAPI SocketAddress, plain or in its older form. */
function addressOf(value: Json | undefined): NbdAddress {
  const address = isObject(value) ? value : {};
  const data = isObject(address.data) ? address.data : address;
  switch (address.type) {
    case 'unix':
      return { type: 'unix', path: needText(data, 'path') };
    case 'inet':
      return { type: 'inet', host: needText(data, 'host'), port: needText(data, 'port') };
    default:
      return refuse(`Socket address of type '${String(address.type)}' is not supported by the simulation`);
  }
}

const bitmapsOf = (args: JsonObject): readonly string[] => {
  const list = Array.isArray(args.bitmaps) ? args.bitmaps : [];
  const one = text(args, 'bitmap');
  // One on another node is named by an object.
  return [
    ...(one === undefined ? [] : [one]),
    ...list.map((each) => (isObject(each) ? needText(each, 'name') : String(each))),
  ];
};

const serverAdd: Handler = ({ vm }, args) => {
  const device = needText(args, 'device');
  const node = vm.graph.find(device);
  const name = text(args, 'name') ?? device;
  vm.exports.add({
    id: name,
    node: () => node,
    name,
    writable: (flag(args, 'writable') ?? false) && !node.readOnly,
    bitmaps: bitmapsOf(args),
  });
  return undefined;
};

const exportAdd: Handler = ({ vm }, args) => {
  const type = needText(args, 'type');
  if (type !== 'nbd') refuse(`Export type '${type}' is not supported by the simulation`);
  const nodeName = needText(args, 'node-name');
  vm.exports.add({
    id: needText(args, 'id'),
    node: () => vm.graph.findNode(nodeName),
    name: text(args, 'name') ?? nodeName,
    writable: flag(args, 'writable') ?? false,
    allowsInactive: flag(args, 'allow-inactive') ?? false,
    bitmaps: bitmapsOf(args),
  });
  return undefined;
};

const removal =
  (member: 'name' | 'id'): Handler =>
  ({ vm }, args) => {
    vm.exports.remove(needText(args, member), text(args, 'mode') === 'hard');
    return undefined;
  };

const list = ({ exports }: Vm): JsonObject[] =>
  exports.list.map(({ id, edge }) => ({
    'node-name': edge.child.name,
    'shutting-down': false,
    type: 'nbd',
    id,
  }));

/** Commands about exports. */
export const exportCommands: CommandTable = {
  'nbd-server-start': ({ vm }, args) => {
    vm.exports.start(addressOf(args.addr));
    return undefined;
  },
  'nbd-server-add': serverAdd,
  'nbd-server-remove': removal('name'),
  'nbd-server-stop': ({ vm }) => {
    vm.exports.stop();
    return undefined;
  },
  'block-export-add': exportAdd,
  'block-export-del': removal('id'),
  'query-block-exports': ({ vm }) => list(vm),
};
