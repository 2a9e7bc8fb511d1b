import { describe, expect, test } from 'vitest';
import { profileNamed, withoutBugs } from '../../../../mock-qemu/profiles/index.ts';
import type { KnownBugs } from '../../../../mock-qemu/profiles/profile.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, MIB } from './bench.ts';

const DRIVE = 'drive-virtio-disk0';
const ARGV = [
  '-S',
  '-drive',
  `file=/img/top,if=none,id=${DRIVE},format=qcow2`,
  '-device',
  `virtio-blk-pci,drive=${DRIVE},id=virtio-disk0`,
];
const device = { device: DRIVE };
const RED_HAT = '__com.redhat_';

const old = () => new Bench(ARGV, 1, profileNamed('qemu-1.3'));
const redHat = (...fixed: (keyof KnownBugs)[]) =>
  new Bench(ARGV, 1, withoutBugs(profileNamed('rhel-6.3'), fixed));

/** The drive's job, as its query lists it. */
const job = (bench: Bench) => (bench.run('query-block-jobs') as readonly JsonObject[])[0];
const file = (bench: Bench) =>
  (bench.run('query-block') as readonly { inserted: JsonObject }[])[0]?.inserted.file;

function untilSynced(bench: Bench): void {
  while (bench.jump() && job(bench)?.offset !== job(bench)?.len);
}

describe('qemu-1.3', () => {
  const mirror = (more: JsonObject = {}) => ({ ...device, target: '/img/t', sync: 'full', ...more });

  test('copies, says READY and pivots, without a state that anybody hears of', () => {
    const bench = old();
    expect(bench.run('drive-mirror', mirror())).toEqual({});
    expect(job(bench)).toMatchObject({ type: 'mirror', device: DRIVE, len: 8 * MIB, paused: false });
    expect(job(bench)).not.toHaveProperty('ready');
    expect(job(bench)).not.toHaveProperty('status');
    bench.idle();
    bench.run('block-job-complete', device);
    bench.idle();
    const heard = bench.heard().filter((each) => each !== '{}');
    expect(heard).toEqual(['BLOCK_JOB_READY', 'BLOCK_JOB_COMPLETED']);
    expect(file(bench)).toBe('/img/t');
    expect(bench.reads(2, MIB, MIB)).toBe(true);
  });

  test('progress is what is not dirty, of the whole disk, and stays at its end once READY', () => {
    const bench = old();
    bench.run('drive-mirror', mirror({ speed: MIB }));
    while (job(bench)?.offset === 0) bench.jump();
    // Three chunks hold data; what holds none is not dirty.
    expect(job(bench)).toMatchObject({ len: 8 * MIB, offset: 6 * MIB });
    bench.idle();
    bench.run('block-job-pause', device);
    bench.guest('write -P 9 0 4096');
    expect(job(bench)).toMatchObject({ len: 8 * MIB, offset: 8 * MIB });
  });

  test('a speed below one chunk lets one chunk pass in each slice', () => {
    const bench = old();
    bench.run('drive-mirror', mirror({ speed: 1 }));
    bench.idle();
    expect(bench.heard()).toContain('BLOCK_JOB_READY');
    expect(bench.qemu.vm.clock.now() / 1e9).toBeLessThan(0.5);
  });

  test.each([
    [{}, 'BLOCK_JOB_COMPLETED'],
    [{ force: true }, 'BLOCK_JOB_COMPLETED'],
  ])('a cancel %j in READY ends the copy well, and leaves the guest where it is', (how, event) => {
    const bench = old();
    bench.run('drive-mirror', mirror());
    bench.idle();
    bench.heard();
    bench.run('block-job-cancel', { ...device, ...how });
    bench.idle();
    expect(bench.heard()).toEqual(['{}', event]);
    expect(file(bench)).toBe('/img/top');
  });

  test('a pause shows when the job wakes; a second one is no error; completion waits for resume', () => {
    const bench = old();
    bench.run('drive-mirror', mirror({ speed: MIB }));
    expect(bench.run('block-job-pause', device)).toEqual({});
    expect(bench.run('block-job-pause', device)).toEqual({});
    expect(job(bench)?.paused).toBe(true);
    expect(bench.run('block-job-complete', device)).toBe(
      `The active block job for device '${DRIVE}' cannot be completed`,
    );
    expect(bench.run('block-job-cancel', device)).toBe(
      `The block job for device '${DRIVE}' is currently paused`,
    );
    bench.run('block-job-resume', device);
    bench.idle();
    expect(bench.heard()).toContain('BLOCK_JOB_READY');
  });

  test('refuses in its own words', () => {
    const bench = old();
    const refusal = (command: string, args: JsonObject) => bench.send(command, args).error;
    expect(refusal('block-stream', { device: 'x' })).toEqual({
      class: 'DeviceNotFound',
      desc: "Device 'x' not found",
    });
    expect(refusal('block-job-cancel', device)).toEqual({
      class: 'DeviceNotActive',
      desc: `No active block job on device '${DRIVE}'`,
    });
    expect(refusal('block-stream', { ...device, base: 'nope' })).toEqual({
      class: 'GenericError',
      desc: "Base 'nope' not found",
    });
    expect(refusal('block-commit', { ...device, top: '/img/top' })).toMatchObject({
      desc: 'Top image as active layer is currently unsupported',
    });
    expect(refusal('drive-mirror', mirror({ target: '/none/t', mode: 'existing' }))).toMatchObject({
      desc: "Could not open '/none/t'",
    });
    bench.run('block-stream', { ...device, speed: 1 });
    expect(refusal('drive-mirror', mirror())).toEqual({
      class: 'GenericError',
      desc: `Device '${DRIVE}' is in use`,
    });
    expect(refusal('block-job-set-speed', { ...device, speed: -1 })).toMatchObject({
      desc: "Invalid parameter 'speed'",
    });
  });

  test('quit is answered first, and lets a READY job finish', () => {
    const bench = old();
    bench.run('drive-mirror', mirror());
    bench.idle();
    bench.guest('write -P 9 0 4096');
    bench.heard();
    bench.run('quit');
    bench.idle();
    expect(bench.heard()).toEqual(['{}', 'SHUTDOWN', 'BLOCK_JOB_COMPLETED', 'closed']);
    expect(bench.store.contents('/img/t')[0]).toEqual({ offsetBytes: 0, lengthBytes: 4096, byte: 9 });
  });

  test('a target that is too small gives an I/O error where it ends', () => {
    const bench = old();
    bench.addTarget({}, MIB);
    bench.run('drive-mirror', mirror({ mode: 'existing' }));
    bench.idle();
    expect(bench.heard()).toContain('BLOCK_JOB_COMPLETED');
    expect(file(bench)).toBe('/img/top');
  });

  test('has no -blockdev', () => {
    const bench = new Bench(['-blockdev', '{}'], 1, profileNamed('qemu-1.3'));
    expect(bench.exit).toBe(1);
    expect(bench.printed).toContain('-blockdev: invalid option');
  });
});

describe('rhel-6.3', () => {
  const copy = (more: JsonObject = {}): readonly [string, JsonObject] => [
    `${RED_HAT}drive-mirror`,
    { ...device, target: '/img/t', full: true, ...more },
  ];
  const reopen = (more: JsonObject = {}): readonly [string, JsonObject] => [
    `${RED_HAT}drive-reopen`,
    { ...device, 'new-image-file': '/img/t', format: 'qcow2', ...more },
  ];

  test('a synced copy is pivoted by reopening: the end of the job comes before the reply', () => {
    const bench = redHat();
    bench.run(...copy());
    bench.idle();
    expect(Object.keys(job(bench) ?? {}).sort()).toEqual(['device', 'len', 'offset', 'speed', 'type']);
    bench.heard();
    expect(bench.run(...reopen())).toEqual({});
    expect(bench.heard()).toEqual(['BLOCK_JOB_COMPLETED', '{}']);
    expect(file(bench)).toBe('/img/t');
    expect(bench.reads(2, MIB, MIB)).toBe(true);
  });

  test('offset reaches len up to one slice too early, and whoever trusts it loses the copy', () => {
    const bench = redHat();
    bench.run(...copy());
    untilSynced(bench);
    bench.heard();
    expect(bench.send(...reopen()).error).toEqual({
      class: 'DeviceInUse',
      desc: `Device '${DRIVE}' is in use`,
      data: device,
    });
    expect(bench.heard()).toEqual(['BLOCK_JOB_CANCELLED', 'error']);
    expect(file(bench)).toBe('/img/top');
    expect(job(bench)).toBeUndefined();
  });

  test('... unless that bug is turned off', () => {
    const bench = redHat('offsetReachesLenEarly');
    bench.run(...copy());
    untilSynced(bench);
    expect(bench.run(...reopen())).toEqual({});
    expect(file(bench)).toBe('/img/t');
  });

  test('a target that cannot be opened leaves a dead job, and reopening then hangs every monitor', () => {
    const bench = redHat();
    expect(bench.send(...copy({ mode: 'existing', target: '/img/none' })).error).toEqual({
      class: 'OpenFileFailed',
      desc: "Could not open '/img/none'",
      data: { filename: '/img/none' },
    });
    expect(job(bench)).toMatchObject({ len: 0, offset: 0, type: 'mirror' });
    expect(bench.run('block-job-cancel', device)).toEqual({});
    expect(job(bench)).toBeDefined();
    expect(bench.run(...copy())).toBe(`Device '${DRIVE}' is in use`);
    expect(bench.send(...reopen())).toEqual({});
    expect(bench.send('query-block')).toEqual({});
  });

  test('... with the one bug fixed there is no dead job, with the other it does not hang', () => {
    const fixed = redHat('zombieJobAfterFailedOpen');
    fixed.run(...copy({ mode: 'existing', target: '/img/none' }));
    expect(job(fixed)).toBeUndefined();
    const half = redHat('reopenHangsOnZombieJob');
    half.run(...copy({ mode: 'existing', target: '/img/none' }));
    expect(half.run(...reopen())).toBe(`Device '${DRIVE}' is in use`);
  });

  test('reopening works without a job; a file that is missing leaves the drive where it was', () => {
    const bench = redHat();
    const missing = reopen({ 'new-image-file': '/img/none' });
    expect(bench.run(...missing)).toBe("Could not open '/img/none'");
    expect(file(bench)).toBe('/img/top');
    expect(bench.run(...reopen({ 'new-image-file': '/img/mid' }))).toEqual({});
    expect(file(bench)).toBe('/img/mid');
  });

  test('a witness gets one byte once the new image is open', () => {
    const bench = redHat();
    expect(bench.send(...reopen({ witness: 'w' })).error).toEqual({
      class: 'FdNotFound',
      desc: "File descriptor named 'w' not found",
      data: { name: 'w' },
    });
    const written: number[] = [];
    bench.qemu.vm.received.push(written);
    bench.run('getfd', { fdname: 'w' });
    bench.run(...reopen({ witness: 'w', 'new-image-file': '/img/mid' }));
    expect(written).toEqual([0]);
  });

  test('a cancel is a good end when synced, and a cancelled one before', () => {
    const synced = redHat();
    synced.run(...copy());
    synced.idle();
    synced.heard();
    synced.run('block-job-cancel', device);
    synced.idle();
    expect(synced.heard()).toEqual(['{}', 'BLOCK_JOB_COMPLETED']);
    const early = redHat();
    early.run(...copy({ speed: 1 }));
    early.heard();
    early.run('block-job-cancel', device);
    early.idle();
    expect(early.heard()).toEqual(['{}', 'BLOCK_JOB_CANCELLED']);
  });

  test('without `full` only the active image is copied, onto the rest of the chain', () => {
    const bench = redHat();
    bench.run(...copy({ full: false }));
    bench.idle();
    bench.run(...reopen());
    expect(file(bench)).toBe('/img/t');
    expect(bench.reads(2, MIB, MIB)).toBe(true);
    expect(bench.store.contents('/img/t').length).toBeGreaterThan(0);
  });

  test('a transaction mirrors and snapshots at one instant, or does neither', () => {
    const bench = redHat();
    const [type, data] = copy();
    expect(bench.run('transaction', { actions: [{ type, data }] })).toEqual({});
    expect(job(bench)).toMatchObject({ type: 'mirror' });
    const both = redHat('zombieJobAfterFailedOpen');
    const bad = { type, data: { ...data, target: '/none/t', mode: 'existing' } };
    const snapshot = {
      type: 'blockdev-snapshot-sync',
      data: { ...device, 'snapshot-file': '/img/s', format: 'qcow2' },
    };
    expect(both.run('transaction', { actions: [snapshot, bad] })).toBe("Could not open '/none/t'");
    expect(file(both)).toBe('/img/top');
  });

  test('there are no pauses, no completion and no policies', () => {
    const bench = redHat();
    for (const command of ['block-job-pause', 'block-job-complete', 'block-commit', 'drive-mirror']) {
      expect(bench.send(command, device).error).toMatchObject({ class: 'CommandNotFound' });
    }
    expect(bench.run(...copy({ speed: -1 }))).toBe("Could not open '/img/t'");
    expect(job(bench)).toBeUndefined();
    bench.run(...copy({ speed: 1 }));
    expect(bench.run('block-job-set-speed', { ...device, speed: -1 })).toBe('Not supported');
  });

  test('drives come and go', () => {
    const bench = redHat();
    bench.run(`${RED_HAT}drive_add`, { id: 'drive-b', file: '/img/base', format: 'qcow2', readonly: 'on' });
    expect(bench.run('query-block')).toHaveLength(2);
    bench.run(`${RED_HAT}drive_del`, { id: 'drive-b' });
    expect(bench.run('query-block')).toHaveLength(1);
  });
});

test('a bug that a generation does not have cannot be turned off', () => {
  expect(() => withoutBugs(profileNamed('rhel-6.3'), ['nosuch'])).toThrow(
    "profile rhel-6.3 has no bug 'nosuch'; it has: zombieJobAfterFailedOpen, reopenHangsOnZombieJob, offsetReachesLenEarly",
  );
  expect(() => withoutBugs(profileNamed('qemu-7.2'), ['offsetReachesLenEarly'])).toThrow(
    'it has: emptyReopenAborts',
  );
});
