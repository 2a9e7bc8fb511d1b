/** QEMUs that do half of what a command is for: a part that the canary of its row, which does nothing, does not break. */
import type { Canary } from '../../canary.ts';
import { alterCommand, alterReply, commandOnEvent } from '../../mutations.ts';
import { alterEvent, doubleEvent } from '../../stream-mutations.ts';
import { isObject, isObjectList, type WireMessage } from '../../wire.ts';

const without = (object: WireMessage, member: string): WireMessage =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== member));

const inDrive = (drive: WireMessage, member: string, value: boolean): WireMessage =>
  member in drive ? { ...drive, [member]: value } : drive;

type Break = readonly [contract: string, id: string, title: string, wire: NonNullable<Canary['wire']>];

const BREAKS: readonly Break[] = [
  [
    'tray',
    'tray-moves-twice',
    'A tray that has moved is told of twice',
    () => doubleEvent('DEVICE_TRAY_MOVED'),
  ],
  [
    'medium',
    'tray-always-open',
    'query-block shows every tray closed',
    () =>
      alterReply('query-block', (drives) =>
        isObjectList(drives) ? drives.map((drive) => inDrive(drive, 'tray_open', false)) : drives,
      ),
  ],
  [
    'eject',
    'tray-told-backwards',
    'DEVICE_TRAY_MOVED tells the other way',
    () => alterEvent('DEVICE_TRAY_MOVED', (data) => ({ ...data, 'tray-open': data['tray-open'] !== true })),
  ],
  [
    'io-throttle',
    'throttle-group-lost',
    'A disk is put into a group of its own, whatever was asked for',
    () => alterCommand('block_set_io_throttle', (args) => without(args, 'group')),
  ],
  [
    'io-throttle',
    'disk-limits-shown-not-kept',
    'What is written to a disk is not held to its limits',
    () =>
      alterCommand('human-monitor-command', (args) => ({
        ...args,
        'command-line': String(args['command-line']).replace(/-d \S+/, 'source'),
      })),
  ],
  [
    'throttle-group',
    'limits-shown-not-kept',
    'A node of a group is not held to its limits',
    () =>
      alterCommand('blockdev-add', (args) =>
        args.driver === 'throttle' ? { ...without(args, 'throttle-group'), driver: 'raw' } : undefined,
      ),
  ],
  [
    'nbd-server',
    'exports-outlive-server',
    'BLOCK_EXPORT_DELETED names another export',
    () => alterEvent('BLOCK_EXPORT_DELETED', (data) => ({ ...data, id: 'other' })),
  ],
  [
    'block-export',
    'export-deleted-twice',
    'BLOCK_EXPORT_DELETED comes twice',
    () => doubleEvent('BLOCK_EXPORT_DELETED'),
  ],
  [
    'mirror-over-nbd',
    'nbd-mirror-without-data',
    'A mirror over NBD copies only what is written from now on',
    () => alterCommand('blockdev-mirror', (args) => ({ ...args, sync: 'none' })),
  ],
  [
    'persistent-bitmap',
    'bitmap-not-persistent',
    'No bitmap is kept in its image',
    () => alterCommand('block-dirty-bitmap-add', (args) => without(args, 'persistent')),
  ],
  [
    'persistent-bitmap',
    'every-bitmap-persistent',
    'Every bitmap is kept in its image',
    () => alterCommand('block-dirty-bitmap-add', (args) => ({ ...args, persistent: true })),
  ],
  [
    'machine-snapshot',
    'snapshot-without-disk',
    'A machine that went back finds something else on its disk',
    () =>
      commandOnEvent('JOB_STATUS_CHANGE', ({ status }) =>
        status === 'concluded'
          ? {
              execute: 'human-monitor-command',
              arguments: { 'command-line': 'qemu-io disk "write -P 0x66 131072 512"' },
            }
          : undefined,
      ),
  ],
  [
    'device-add-del',
    'device-deleted-without-name',
    'DEVICE_DELETED does not name the device',
    () => alterEvent('DEVICE_DELETED', (data) => without(data, 'device')),
  ],
  [
    'run-state',
    'reset-by-guest',
    'RESET says that it was the guest',
    () => alterEvent('RESET', (data) => ({ ...data, guest: true })),
  ],
  [
    'introspection',
    'schema-lacks-command',
    'The schema lacks a command',
    () =>
      alterReply('query-qmp-schema', (schema) =>
        isObjectList(schema) ? schema.filter(({ name }) => name !== 'block-stream') : schema,
      ),
  ],
  [
    'qemu-io',
    'writes-go-elsewhere',
    'What is written through the human monitor lands further up',
    () =>
      alterCommand('human-monitor-command', (args) =>
        isObject(args) && typeof args['command-line'] === 'string'
          ? { ...args, 'command-line': args['command-line'].replace('-P 51 65536', '-P 51 131072') }
          : undefined,
      ),
  ],
];

/** Canaries for the contracts about commands. */
export const commandCanaries: readonly Canary[] = BREAKS.map(([contract, id, title, wire]) => ({
  id,
  contract: `qmp/command/${contract}`,
  title,
  wire,
}));
