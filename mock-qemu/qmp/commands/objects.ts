/** User-created objects, and what can be asked about the tree of all objects (QOM). */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { Vm } from '../../core/vm.ts';
import { type CommandTable, isObject, needText } from './table.ts';
import { addThrottleGroup, limitsFrom, limitsInfo } from './throttling.ts';

/** Objects that are known to be there and do nothing here. */
const INERT = new Set([
  'iothread',
  'secret',
  'secret_keyring',
  'tls-creds-anon',
  'tls-creds-psk',
  'tls-creds-x509',
]);

/** Whether there are objects of a type here. */
export const isSimulatedObject = (type: string): boolean => type === 'throttle-group' || INERT.has(type);

/** Makes an object; refuses a used id and a type that is not simulated. */
export function addObject(vm: Vm, options: JsonObject): void {
  const type = needText(options, 'qom-type');
  const id = needText(options, 'id');
  if (vm.objects.has(id)) refuse(`attempt to add duplicate property '${id}' to object (type 'container')`);
  if (type === 'throttle-group') addThrottleGroup(vm, id, options);
  else if (!isSimulatedObject(type)) refuse(`Object type '${type}' is not supported by the simulation`);
  vm.objects.set(id, { type, options });
}

function deleteObject(vm: Vm, id: string): void {
  const object = vm.objects.get(id) ?? refuse(`object '${id}' not found`);
  const group = object.type === 'throttle-group' ? vm.throttles.find(id) : undefined;
  if (group && group.members > 0) refuse(`object '${id}' is in use, can not be deleted`);
  if (group) vm.throttles.remove(group);
  vm.objects.delete(id);
}

/** One object of the tree: its type, and its properties by name. */
interface QomObject {
  readonly type: string;
  readonly properties: Readonly<Record<string, Property>>;
}

interface Property {
  readonly type: string;
  get(): Json;
  set?(value: Json): void;
}

const fixed = (type: string, value: Json): Property => ({ type, get: () => value });

const child = (type: string): Property => fixed(`child<${type}>`, '');

const container = (children: Readonly<Record<string, Property>>): QomObject => ({
  type: 'container',
  properties: children,
});

function userObject(vm: Vm, id: string): QomObject | undefined {
  const object = vm.objects.get(id);
  if (!object) return undefined;
  const group = object.type === 'throttle-group' ? vm.throttles.find(id) : undefined;
  if (!group) return { type: object.type, properties: {} };
  const limits: Property = {
    type: 'ThrottleLimits',
    get: () => limitsInfo(group.limits),
    set: (value) => group.setLimits(limitsFrom(isObject(value) ? value : {}, group.limits)),
  };
  return { type: object.type, properties: { limits } };
}

function device(vm: Vm, path: string): QomObject | undefined {
  const found = vm.devices.find((each) => each.path === path || each.backend?.qomPath === path);
  if (!found) return undefined;
  const { backend, driver } = found;
  const isProxy = backend !== undefined && backend.qomPath !== found.path;
  const drive: Record<string, Property> = backend
    ? { drive: fixed('str', backend.name === '' ? (backend.node?.name ?? '') : backend.name) }
    : {};
  const inner: Record<string, Property> =
    isProxy && path === found.path ? { 'virtio-backend': child('virtio-blk-device') } : {};
  return {
    type: isProxy && path !== found.path ? 'virtio-blk-device' : driver,
    properties: {
      type: fixed('string', isProxy && path !== found.path ? 'virtio-blk-device' : driver),
      ...inner,
      ...drive,
      realized: fixed('bool', true),
      hotplugged: fixed('bool', false),
    },
  };
}

/** The object of a path, absolute or the end of one. */
function lookup(vm: Vm, path: string): QomObject {
  const refuseMissing = () =>
    refuse(`Device '${path}' not found`, 'DeviceNotFound', { kind: 'device-not-found', device: path });
  const named = vm.devices.filter(({ id }) => id !== undefined);
  const children = (list: readonly (readonly [string, string])[]) =>
    container(Object.fromEntries(list.map(([name, type]) => [name, child(type)])));
  const full = path.startsWith('/')
    ? path
    : vm.objects.has(path)
      ? `/objects/${path}`
      : `/machine/peripheral/${path}`;
  switch (full) {
    case '/':
      return children([
        ['machine', 'machine'],
        ['objects', 'container'],
        ['chardevs', 'container'],
      ]);
    case '/machine':
      return children([
        ['peripheral', 'container'],
        ['peripheral-anon', 'container'],
        ['unattached', 'container'],
      ]);
    case '/machine/peripheral':
      return children(
        named.map(({ id = '', driver }) => [id, driver] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    case '/machine/peripheral-anon': {
      const anonymous = vm.devices.filter(({ id }) => id === undefined);
      return children(anonymous.map(({ driver }, index) => [`device[${index}]`, driver]));
    }
    case '/objects':
      return children([...vm.objects].toReversed().map(([id, { type }]) => [id, type]));
    default: {
      const id = full.startsWith('/objects/') ? full.slice('/objects/'.length) : undefined;
      return (id === undefined ? device(vm, full) : userObject(vm, id)) ?? refuseMissing();
    }
  }
}

function propertyOf(object: QomObject, name: string): Property {
  if (name === 'type') return fixed('string', object.type);
  const found = Object.hasOwn(object.properties, name) ? object.properties[name] : undefined;
  return found ?? refuse(`Property '${object.type}.${name}' not found`);
}

/** Commands about objects. */
export const objectCommands: CommandTable = {
  'object-add': ({ vm }, args) => {
    addObject(vm, args);
    return undefined;
  },
  'object-del': ({ vm }, args) => {
    deleteObject(vm, needText(args, 'id'));
    return undefined;
  },
  'qom-list': ({ vm }, args) => {
    const { properties } = lookup(vm, needText(args, 'path'));
    const rest = Object.entries(properties).filter(([name]) => name !== 'type');
    return [{ name: 'type', type: 'string' }, ...rest.map(([name, { type }]) => ({ name, type }))];
  },
  'qom-get': ({ vm }, args) =>
    propertyOf(lookup(vm, needText(args, 'path')), needText(args, 'property')).get(),
  'qom-set': ({ vm }, args) => {
    const object = lookup(vm, needText(args, 'path'));
    const name = needText(args, 'property');
    const property = propertyOf(object, name);
    if (!property.set) refuse(`Property '${object.type}.${name}' is not writable`);
    property.set?.(args.value ?? null);
    return undefined;
  },
  'query-iothreads': ({ vm }) =>
    [...vm.objects]
      .filter(([, { type }]) => type === 'iothread')
      .map(([id, { options }], index) => ({
        'poll-shrink': options['poll-shrink'] ?? 0,
        'thread-id': index + 2,
        'aio-max-batch': options['aio-max-batch'] ?? 0,
        'poll-grow': options['poll-grow'] ?? 0,
        'poll-max-ns': options['poll-max-ns'] ?? 32_768,
        id,
      })),
};
