/** What the blockdev era can do with disks besides block jobs: the commands of libvirt 9.0. */
import type {
  DiskLimit,
  DiskLimits,
  DiskSpec,
  ImageRef,
  LimitedRate,
  OverlaySpec,
} from '../../../src/driver.ts';
import { numberOf, objectsOf, optionalText } from '../errors.ts';
import type { QmpEventMessage } from '../qmp-client.ts';
import { isQmpObject, member, type QmpCall, type QmpObject } from '../qmp-json.ts';
import { beginOn, changeBitmaps } from './bitmaps.ts';
import type { DialectExtras, Geometry, Query, Step, ThresholdSignal } from './dialect.ts';
import {
  formatNode,
  formatOptions,
  formatSteps,
  openNode,
  storageNode,
  storageOptions,
  transaction,
} from './nodes.ts';

type KindOf = (image: ImageRef) => 'file' | 'block';

const call = (execute: string, args: QmpObject): Step => ({ do: 'call', call: { execute, arguments: args } });

/** Steps that open a chain from the bottom up; only its top may be written to. */
function openChain(chain: readonly ImageRef[], readonly: boolean, kindOf: KindOf): readonly Step[] {
  const bottomUp = chain.map((image, depth) => {
    const below = chain[depth + 1];
    const backing = below === undefined ? null : formatNode(below);
    return [
      openNode(storageOptions(image, kindOf(image))),
      openNode(formatOptions(image, readonly || depth > 0, backing)),
    ];
  });
  return bottomUp.reverse().flat();
}

/** An overlay is opened without anything below it: the transaction puts it on top. */
function openOverlay(
  { overlay, active, reuse }: OverlaySpec,
  geometry: Geometry | undefined,
  kindOf: KindOf,
): readonly Step[] {
  const kind = kindOf(overlay);
  const storage: readonly Step[] =
    reuse || geometry === undefined
      ? [openNode(storageOptions(overlay, kind))]
      : [
          { do: 'create-file', path: overlay.path, failure: `failed to create image file '${overlay.path}'` },
          ...formatSteps(overlay, kind, { ...geometry, backing: active }),
        ];
  return [...storage, openNode(formatOptions(overlay, false, null))];
}

function snapshot(
  overlays: readonly OverlaySpec[],
  geometryOf: (active: ImageRef) => Geometry | undefined,
  kindOf: KindOf,
): readonly Step[] {
  const actions = overlays.flatMap(({ active, overlay, bitmaps = [] }): QmpObject[] => [
    {
      type: 'blockdev-snapshot',
      data: { node: formatNode(active), overlay: formatNode(overlay) },
    },
    ...beginOn(overlay, bitmaps),
  ]);
  return [
    ...overlays.flatMap((spec) => openOverlay(spec, geometryOf(spec.active), kindOf)),
    { do: 'call', call: transaction(actions) },
  ];
}

/** The tray is opened, emptied, filled and closed; a refusal on the way closes it over what was in it. */
function changeMedium(
  { alias, chain: old, readonly }: DiskSpec,
  chain: readonly ImageRef[],
  force: boolean,
  kindOf: KindOf,
): readonly Step[] {
  const id = { id: alias };
  const [before] = old;
  const [top] = chain;
  const refill = before && {
    execute: 'blockdev-insert-medium',
    arguments: { ...id, 'node-name': formatNode(before) },
  };
  return [
    ...openChain(chain, readonly, kindOf),
    {
      do: 'call',
      call: { execute: 'blockdev-open-tray', arguments: { ...id, force } },
      undo: { execute: 'blockdev-close-tray', arguments: id },
    },
    {
      do: 'call',
      call: { execute: 'blockdev-remove-medium', arguments: id },
      ...(refill && { undo: refill }),
    },
    ...(top === undefined ? [] : [call('blockdev-insert-medium', { ...id, 'node-name': formatNode(top) })]),
    call('blockdev-close-tray', id),
  ];
}

const STORAGE_NODE = /^libvirt-(\d+)-storage$/;

function threshold({ event, data }: QmpEventMessage): ThresholdSignal | undefined {
  if (event !== 'BLOCK_WRITE_THRESHOLD') return undefined;
  const index = STORAGE_NODE.exec(optionalText(data, 'node-name') ?? '')?.[1];
  if (index === undefined) return undefined;
  return {
    imageIndex: Number(index),
    thresholdBytes: numberOf(data, 'write-threshold', event),
    excessBytes: numberOf(data, 'amount-exceeded', event),
  };
}

const RATES: Readonly<Record<LimitedRate, string>> = {
  total_bytes_sec: 'bps',
  read_bytes_sec: 'bps_rd',
  write_bytes_sec: 'bps_wr',
  total_iops_sec: 'iops',
  read_iops_sec: 'iops_rd',
  write_iops_sec: 'iops_wr',
};
/** Each limit by QEMU's name, the rates first: those are always sent, the others where they are not 0. */
const LIMITS: readonly (readonly [ours: DiskLimit, qemus: string, always: boolean])[] = [
  ...entriesOf(RATES).map(([ours, qemus]) => [ours, qemus, true] as const),
  ...entriesOf(RATES).map(([ours, qemus]) => [`${ours}_max`, `${qemus}_max`, false] as const),
  ['size_iops_sec', 'iops_size', false],
  ...entriesOf(RATES).map(([ours, qemus]) => [`${ours}_max_length`, `${qemus}_max_length`, false] as const),
];

function entriesOf<K extends string, V>(table: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(table) as [K, V][];
}

/** Virtio disks are reached by what they stand on, others by the alias (libvirt: qemuDomainDiskGetBackendAlias). */
const deviceOf = ({ alias, bus }: DiskSpec): string =>
  bus === 'virtio' ? `/machine/peripheral/${alias}/virtio-backend` : alias;

function limit(disk: DiskSpec, { values, group }: DiskLimits): QmpCall {
  const numbers = LIMITS.flatMap(([ours, qemus, always]): [string, number][] => {
    const value = values[ours] ?? 0;
    return always || value > 0 ? [[qemus, value]] : [];
  });
  return {
    execute: 'block_set_io_throttle',
    arguments: { id: deviceOf(disk), ...Object.fromEntries(numbers), ...member('group', group) },
  };
}

function limits(): Query<ReadonlyMap<string, DiskLimits>> {
  const execute = 'query-block';
  return {
    call: { execute },
    read(reply) {
      const found = new Map<string, DiskLimits>();
      for (const { qdev, inserted } of objectsOf(reply, execute)) {
        if (typeof qdev !== 'string' || !isQmpObject(inserted)) continue;
        const values = LIMITS.map(([ours, qemus]) => [ours, Number(inserted[qemus] ?? 0)] as const);
        const alias = /^\/machine\/peripheral\/([^/]+)/.exec(qdev)?.[1] ?? qdev;
        found.set(alias, { values: Object.fromEntries(values), group: optionalText(inserted, 'group') });
      }
      return found;
    },
  };
}

/** The extras of the era. */
export const blockdevExtras: Omit<DialectExtras, 'geometry' | 'bitmaps' | 'carryBitmaps'> = {
  resize: (image, size) => ({ execute: 'block_resize', arguments: { 'node-name': formatNode(image), size } }),
  writeThreshold: (image, bytes) => ({
    execute: 'block-set-write-threshold',
    arguments: { 'node-name': storageNode(image), 'write-threshold': bytes },
  }),
  threshold,
  limit,
  limits,
  changeBitmaps,
  snapshot,
  attach: (disk, device, kindOf) => [
    ...openChain(disk.chain, disk.readonly, kindOf),
    call('device_add', device),
  ],
  detach: ({ alias }) => ({ execute: 'device_del', arguments: { id: alias } }),
  removed: ({ event, data }) => (event === 'DEVICE_DELETED' ? optionalText(data, 'device') : undefined),
  changeMedium,
};
