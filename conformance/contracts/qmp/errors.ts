/** What is refused with which class and words: one contract per row. */
import { type Contract, example } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import { Bench, DATA, DISK_BYTES, HELD_SPEED, JOB } from '../../qmp/bench.ts';
import type { WireMessage } from '../../wire.ts';

/** What there is before the refused command is sent. */
const SCENES = {
  /** Disks, and no job: a chain `base <- mid <- top`, a raw `disk`, an equal `spare`, and a `half` of the size. */
  async idle(bench: Bench) {
    await bench.chain(['base', 'mid', 'top']);
    await bench.raw('disk', [DATA]);
    await bench.raw('spare');
    await bench.raw('half', [], DISK_BYTES / 2);
  },
  /** A mirror in READY from `source` to `target`. */
  async mirror(bench: Bench) {
    await bench.pair();
    await bench.raw('spare');
    await bench.mirror();
    await bench.ready();
  },
  /** A stream into `top` that is held back. */
  async stream(bench: Bench) {
    await bench.chain(['base', 'mid', 'top']);
    await bench.raw('spare');
    await bench.monitor.succeed('block-stream', { 'job-id': JOB, device: 'top', speed: HELD_SPEED });
    await bench.moving();
    // A drain cuts a throttled job's sleep short in some QEMUs; a pause it does not take back.
    await bench.monitor.succeed('block-job-pause', { device: JOB });
    await bench.monitor.reach(JOB, 'paused');
  },
} as const;

/** One refusal. */
export interface ErrorRow {
  readonly id: string;
  readonly scene: keyof typeof SCENES;
  readonly execute: string;
  readonly args: WireMessage;
  readonly class: string;
  readonly desc: string;
}

type Row = readonly [id: string, execute: string, args: WireMessage, desc: string, errorClass?: string];

const ID = { 'job-id': 'other' } as const;
const stream = (more: WireMessage): WireMessage => ({ ...ID, device: 'top', ...more });
const mirror = (more: WireMessage): WireMessage => ({
  ...ID,
  device: 'disk',
  target: 'spare',
  sync: 'full',
  ...more,
});

const IDLE: readonly Row[] = [
  [
    'stream-unknown-device',
    'block-stream',
    { ...ID, device: 'nope' },
    "Cannot find device='nope' nor node-name='nope'",
  ],
  [
    'stream-base-twice',
    'block-stream',
    stream({ base: 'x', 'base-node': 'base' }),
    "'base' and 'base-node' cannot be specified at the same time",
  ],
  [
    'stream-base-and-bottom',
    'block-stream',
    stream({ base: 'x', bottom: 'mid' }),
    "'base' and 'bottom' cannot be specified at the same time",
  ],
  ['stream-unknown-base', 'block-stream', stream({ base: 'x' }), "Can't find 'x' in the backing chain"],
  [
    'stream-foreign-base-node',
    'block-stream',
    stream({ 'base-node': 'disk' }),
    "Node 'disk' is not a backing image of 'top'",
  ],
  [
    'stream-unknown-base-node',
    'block-stream',
    stream({ 'base-node': 'nope' }),
    "Cannot find device='' nor node-name='nope'",
  ],
  [
    'stream-foreign-bottom',
    'block-stream',
    stream({ bottom: 'disk' }),
    "Node 'disk' is not in a chain starting from 'top'",
  ],
  [
    'stream-whole-with-backing-file',
    'block-stream',
    stream({ 'backing-file': 'x' }),
    'backing file specified, but streaming the entire chain',
  ],
  [
    'stream-negative-speed',
    'block-stream',
    stream({ speed: -1 }),
    "Parameter 'speed' expects a non-negative value",
  ],
  ['stream-bad-job-id', 'block-stream', { 'job-id': '1x', device: 'top' }, "Invalid job ID '1x'"],
  ['stream-no-job-id', 'block-stream', { device: 'top' }, "Invalid job ID ''"],
  [
    'stream-duplicate-filter',
    'block-stream',
    stream({ 'filter-node-name': 'disk' }),
    "Could not create node: Duplicate nodes with node-name='disk'",
  ],
  [
    'commit-unknown-device',
    'block-commit',
    { ...ID, device: 'nope' },
    "Device 'nope' not found",
    'DeviceNotFound',
  ],
  ['commit-not-a-root', 'block-commit', { ...ID, device: 'mid' }, 'Need a root block node'],
  [
    'commit-top-twice',
    'block-commit',
    stream({ top: 'x', 'top-node': 'mid' }),
    "'top-node' and 'top' are mutually exclusive",
  ],
  [
    'commit-base-twice',
    'block-commit',
    stream({ base: 'x', 'base-node': 'base' }),
    "'base-node' and 'base' are mutually exclusive",
  ],
  [
    'commit-foreign-top-node',
    'block-commit',
    stream({ 'top-node': 'disk' }),
    "'disk' is not in this backing file chain",
  ],
  ['commit-unknown-top', 'block-commit', stream({ top: 'x' }), 'Top image file x not found'],
  ['commit-unknown-base', 'block-commit', stream({ base: 'x' }), "Can't find 'x' in the backing chain"],
  [
    'commit-into-itself',
    'block-commit',
    stream({ 'top-node': 'base', 'base-node': 'base' }),
    'cannot commit an image into itself',
  ],
  ['commit-single-image', 'block-commit', { ...ID, device: 'disk' }, 'cannot commit an image into itself'],
  [
    'commit-active-with-backing-file',
    'block-commit',
    stream({ 'backing-file': 'x' }),
    "'backing-file' specified, but 'top' is the active layer",
  ],
  [
    'commit-negative-speed',
    'block-commit',
    stream({ speed: -1 }),
    "Parameter 'speed' expects a non-negative value",
  ],
  [
    'mirror-unknown-device',
    'blockdev-mirror',
    mirror({ device: 'nope' }),
    "Cannot find device='nope' nor node-name='nope'",
  ],
  [
    'mirror-unknown-target',
    'blockdev-mirror',
    mirror({ target: 'nope' }),
    "Cannot find device='nope' nor node-name='nope'",
  ],
  [
    'mirror-granularity-out-of-range',
    'blockdev-mirror',
    mirror({ granularity: 256 }),
    "Parameter 'granularity' expects a value in range [512B, 64MB]",
  ],
  [
    'mirror-granularity-no-power',
    'blockdev-mirror',
    mirror({ granularity: 1000 }),
    "Parameter 'granularity' expects a power of 2",
  ],
  ['mirror-bitmap-mode', 'blockdev-mirror', mirror({ sync: 'bitmap' }), "Sync mode 'bitmap' not supported"],
  ['mirror-negative-buf-size', 'blockdev-mirror', mirror({ 'buf-size': -1 }), "Invalid parameter 'buf-size'"],
  ['mirror-into-itself', 'blockdev-mirror', mirror({ target: 'disk' }), "Can't mirror node into itself"],
  [
    'mirror-replaces-unknown',
    'blockdev-mirror',
    mirror({ replaces: 'nope' }),
    "Failed to find node with node-name='nope'",
  ],
  [
    'mirror-duplicate-filter',
    'blockdev-mirror',
    mirror({ 'filter-node-name': 'top' }),
    "Duplicate nodes with node-name='top'",
  ],
  [
    'mirror-negative-speed',
    'blockdev-mirror',
    mirror({ speed: -1 }),
    "Parameter 'speed' expects a non-negative value",
  ],
  [
    'drive-mirror-unknown-format',
    'drive-mirror',
    { ...ID, device: 'disk', target: '/nonexistent/x', sync: 'full', format: 'bogus' },
    "Unknown file format 'bogus'",
  ],
  [
    'drive-mirror-no-directory',
    'drive-mirror',
    { ...ID, device: 'disk', target: '/nonexistent/x', sync: 'full', format: 'qcow2' },
    "Could not create '/nonexistent/x': No such file or directory",
  ],
  [
    'drive-backup-no-directory',
    'drive-backup',
    { ...ID, device: 'disk', target: '/nonexistent/x', sync: 'full', format: 'qcow2' },
    "Could not create '/nonexistent/x': No such file or directory",
  ],
  [
    'drive-backup-unknown-format',
    'drive-backup',
    { ...ID, device: 'disk', target: '/nonexistent/x', sync: 'full', format: 'bogus' },
    "Unknown file format 'bogus'",
  ],
  ['backup-same-node', 'blockdev-backup', mirror({ target: 'disk' }), 'Source and target cannot be the same'],
  [
    'backup-size-mismatch',
    'blockdev-backup',
    mirror({ target: 'half' }),
    'Source and target image have different sizes',
  ],
  [
    'backup-incremental-without-bitmap',
    'blockdev-backup',
    mirror({ sync: 'incremental' }),
    "must provide a valid bitmap name for 'incremental' sync mode",
  ],
  [
    'backup-unknown-bitmap',
    'blockdev-backup',
    mirror({ sync: 'bitmap', bitmap: 'zz' }),
    "Bitmap 'zz' could not be found",
  ],
  [
    'backup-no-workers',
    'blockdev-backup',
    mirror({ 'x-perf': { 'max-workers': 0 } }),
    'max-workers must be between 1 and 2147483647',
  ],
  ['del-unknown-node', 'blockdev-del', { 'node-name': 'nope' }, "Failed to find node with node-name='nope'"],
  [
    'del-backing-node',
    'blockdev-del',
    { 'node-name': 'mid' },
    "Node 'mid' is busy: node is used as backing hd of 'top'",
  ],
  [
    'add-without-name',
    'blockdev-add',
    { driver: 'null-co', size: 512 },
    "'node-name' must be specified for the root node",
  ],
  [
    'add-duplicate-name',
    'blockdev-add',
    { driver: 'null-co', 'node-name': 'disk' },
    "Duplicate nodes with node-name='disk'",
  ],
  ['add-bad-name', 'blockdev-add', { driver: 'null-co', 'node-name': '0a' }, "Invalid node-name: '0a'"],
  ['add-long-name', 'blockdev-add', { driver: 'null-co', 'node-name': 'x'.repeat(32) }, 'Node name too long'],
  [
    'add-missing-file',
    'blockdev-add',
    { driver: 'file', 'node-name': 'n', filename: '/nonexistent/x' },
    "Could not open '/nonexistent/x': No such file or directory",
  ],
  [
    'resize-negative',
    'block_resize',
    { 'node-name': 'disk', size: -512 },
    "Parameter 'size' expects a >0 size",
  ],
  [
    'change-backing-of-raw',
    'change-backing-file',
    { device: 'disk', 'image-node-name': 'disk', 'backing-file': 'x' },
    'not allowing backing file change on an image without a backing file',
  ],
  [
    'threshold-unknown-node',
    'block-set-write-threshold',
    { 'node-name': 'zz', 'write-threshold': 1 },
    "Device 'zz' not found",
  ],
  [
    'transaction-aborted',
    'transaction',
    { actions: [{ type: 'abort', data: {} }] },
    'Transaction aborted using Abort action',
  ],
  [
    'snapshot-overlay-with-backing',
    'blockdev-snapshot',
    { node: 'top', overlay: 'mid' },
    'The overlay already has a backing image',
  ],
  [
    'snapshot-overlay-unsupported',
    'blockdev-snapshot',
    { node: 'top', overlay: 'spare' },
    'The overlay does not support backing images',
  ],
  [
    'bitmap-unknown',
    'block-dirty-bitmap-remove',
    { node: 'disk', name: 'zz' },
    "Dirty bitmap 'zz' not found",
  ],
  ...['cancel', 'pause', 'resume', 'complete', 'set-speed'].map(
    (verb): Row => [
      `unknown-block-job-${verb}`,
      `block-job-${verb}`,
      { device: 'nope', ...(verb === 'set-speed' ? { speed: 0 } : {}) },
      "Block job 'nope' not found",
      'DeviceNotActive',
    ],
  ),
  ...['finalize', 'dismiss'].map(
    (verb): Row => [
      `unknown-block-job-${verb}`,
      `block-job-${verb}`,
      { id: 'nope' },
      "Block job 'nope' not found",
      'DeviceNotActive',
    ],
  ),
  ...['cancel', 'pause', 'resume', 'complete', 'finalize', 'dismiss'].map(
    (verb): Row => [`unknown-job-${verb}`, `job-${verb}`, { id: 'nope' }, 'Job not found'],
  ),
];

/** What a disk with a job refuses. */
function busyRows(device: string, type: string): readonly Row[] {
  const busy = `Node '${device}' is busy: block device is in use by block job: ${type}`;
  const root = 'Need a root block node';
  return [
    [`stream-during-${type}`, 'block-stream', { ...ID, device }, busy],
    [`backup-during-${type}`, 'blockdev-backup', { ...ID, device, target: 'spare', sync: 'full' }, busy],
    [`mirror-during-${type}`, 'blockdev-mirror', { ...ID, device, target: 'spare', sync: 'full' }, root],
    [`commit-during-${type}`, 'block-commit', { ...ID, device }, root],
    [
      `change-backing-during-${type}`,
      'change-backing-file',
      { device, 'image-node-name': device, 'backing-file': 'x' },
      root,
    ],
    [
      `snapshot-during-${type}`,
      'blockdev-snapshot-sync',
      { 'node-name': device, 'snapshot-node-name': 'snap', 'snapshot-file': '/nonexistent/snap' },
      busy,
    ],
    [`del-source-during-${type}`, 'blockdev-del', { 'node-name': device }, busy],
  ];
}

const MIRROR: readonly Row[] = [
  ...busyRows('source', 'mirror'),
  ['del-target-during-mirror', 'blockdev-del', { 'node-name': 'target' }, 'Node target is in use'],
  [
    'job-id-in-use',
    'blockdev-backup',
    { 'job-id': JOB, device: 'spare', target: 'spare', sync: 'full' },
    'Source and target cannot be the same',
  ],
  [
    'set-speed-negative',
    'block-job-set-speed',
    { device: JOB, speed: -1 },
    "Parameter 'speed' expects a non-negative value",
  ],
];

function rowsOf(scene: keyof typeof SCENES, rows: readonly Row[]): readonly ErrorRow[] {
  return rows.map(([id, execute, args, desc, errorClass = 'GenericError']) => ({
    id: `qmp/error/${id}`,
    scene,
    execute,
    args,
    class: errorClass,
    desc,
  }));
}

/** Every refusal that is held to the letter. */
export const errorRows: readonly ErrorRow[] = [
  ...rowsOf('idle', IDLE),
  ...rowsOf('mirror', MIRROR),
  ...rowsOf('stream', busyRows('top', 'stream')),
];

/** One contract per refusal: the class, the words, and that nothing is left behind. */
export const errorContracts: readonly Contract[] = errorRows.map((row) =>
  example({
    id: row.id,
    title: `${row.execute} is refused with ${row.class} and: ${row.desc}`,
    source: 'QEMU blockdev.c, block/*.c, job-qmp.c; QAPI block-core.json, job.json',
    needs: ['qmp'],
    async check(world) {
      const bench = await Bench.empty(world);
      await SCENES[row.scene](bench);
      const before = await stateOf(bench);
      const reply = await bench.monitor.execute(row.execute, row.args);
      expectEqual<unknown>(reply, { error: { class: row.class, desc: row.desc } }, `reply to ${row.execute}`);
      expectEqual(await stateOf(bench), before, 'nodes and jobs after the refusal');
    },
  }),
);

async function stateOf(bench: Bench): Promise<unknown> {
  const jobs = await bench.monitor.list('query-jobs');
  return { nodes: await bench.nodes(), jobs: jobs.map(({ id, status, type }) => ({ id, status, type })) };
}
