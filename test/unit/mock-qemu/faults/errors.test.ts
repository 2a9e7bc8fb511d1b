/** Errors of requests: injected by blkdebug, by full files, and what policies make of them. */
import { describe, expect, test } from 'vitest';
import { needsFlush } from '../../../../mock-qemu/core/graph/data.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, chainArgv, MIB } from '../commands/bench.ts';

const TOP = 'libvirt-1-format';
const mirror = { 'job-id': 'm', device: TOP, target: 'd', sync: 'full' };

/** A blkdebug node `d` above a fresh target `t`. */
function debugged(rules: JsonObject): Bench {
  const bench = new Bench();
  bench.addTarget();
  expect(bench.run('blockdev-add', { driver: 'blkdebug', 'node-name': 'd', image: 't', ...rules })).toEqual(
    {},
  );
  bench.heard();
  return bench;
}

const inject = (rule: JsonObject): JsonObject => ({ 'inject-error': [rule] });
const fails = (bench: Bench, command: string): boolean => {
  const before = bench.printed.length;
  bench.run('human-monitor-command', { 'command-line': `qemu-io d "${command}"` });
  // Of a flush nothing is printed: what it did not do is left to do.
  const node = bench.qemu.vm.graph.nodes.get('d');
  if (command === 'flush') return node !== undefined && needsFlush(node);
  return bench.printed.slice(before).includes('failed');
};

describe('blkdebug', () => {
  test('fails what a rule names: type, sector, once', () => {
    const bench = debugged(inject({ event: 'none', iotype: 'write', sector: 3, once: true }));
    expect(fails(bench, 'read 0 64k')).toBe(false);
    expect(fails(bench, 'write 2k 512')).toBe(false);
    expect(fails(bench, 'write 1k 1k')).toBe(true);
    expect(fails(bench, 'write 1k 1k')).toBe(false);
  });

  test.each(['read', 'write', 'flush'])('%s, with any errno, for good', (iotype) => {
    const bench = debugged(inject({ event: 'none', iotype, errno: 110 }));
    bench.run('human-monitor-command', { 'command-line': 'qemu-io d "write 0 64k"' });
    for (const command of ['read 0 512', 'write 0 512', 'flush']) {
      expect(fails(bench, command)).toBe(command.startsWith(iotype));
    }
    if (iotype !== 'flush') expect(bench.printed).toContain('Connection timed out');
  });

  test('an errno of 0 fails nothing', () => {
    expect(fails(debugged(inject({ event: 'none', errno: 0 })), 'write 0 512')).toBe(false);
  });

  test('states decide which rules count', () => {
    const bench = debugged({
      'set-state': [{ event: 'pwritev', state: 1, new_state: 2 }],
      'inject-error': [{ event: 'pwritev', state: 2, iotype: 'write' }],
    });
    expect(fails(bench, 'write 0 512')).toBe(false);
    expect(fails(bench, 'write 0 512')).toBe(true);
  });

  test.each([
    ['write_aio', ['write 0 64k'], true],
    ['cluster_alloc', ['write 0 64k'], true],
    ['flush_to_disk', ['write 0 64k', 'flush'], true],
    ['l2_update', ['write 0 64k'], true],
    ['read_aio', ['write 0 64k', 'read 0 64k'], true],
    ['read_aio', ['write 0 64k'], false],
  ])('below a format node: %s', (event, commands, failed) => {
    const bench = new Bench();
    bench.addTarget();
    bench.run('blockdev-del', { 'node-name': 't' });
    const image = { driver: 'file', filename: '/img/t' };
    const file = { driver: 'blkdebug', image, ...inject({ event }) };
    expect(bench.run('blockdev-add', { driver: 'qcow2', 'node-name': 'd', file })).toEqual({});
    expect(commands.map((command) => fails(bench, command)).at(-1)).toBe(failed);
  });

  test('refuses what QEMU refuses and shows what it was given', () => {
    const bench = debugged(inject({ event: 'none', iotype: 'write' }));
    const add = (options: JsonObject) =>
      bench.run('blockdev-add', { driver: 'blkdebug', 'node-name': 'e', image: 't', ...options });
    expect(add({ 'inject-error': [] })).toBe(
      "Block protocol 'blkdebug' doesn't support the option 'inject-error'",
    );
    expect(add({ align: 3 })).toBe('Cannot meet constraints with align 3');
    expect(add(inject({ event: 'foo' }))).toBe("Parameter 'event' does not accept value 'foo'");
    const nodes = bench.run('query-named-block-nodes') as readonly JsonObject[];
    expect(nodes.find((node) => node['node-name'] === 'd')).toMatchObject({
      drv: 'blkdebug',
      backing_file_depth: 1,
      file: expect.stringContaining('"inject-error.0.iotype": "write"'),
      image: { 'backing-image': { format: 'qcow2' } },
    });
  });
});

/** What QEMU 7.2 and 10.0 said of such files. */
describe('rules in a file', () => {
  const withConfig = (text: string): Bench => {
    const bench = new Bench();
    bench.addTarget();
    const bytes = new TextEncoder().encode(text);
    const file = bench.store.create('/img/rules.conf');
    file.virtualSizeBytes = bytes.length;
    for (const [at, byte] of bytes.entries()) file.extents.set(at, at + 1, byte);
    return bench;
  };
  const add = (bench: Bench, options: JsonObject = {}): unknown =>
    bench.run('blockdev-add', {
      driver: 'blkdebug',
      'node-name': 'd',
      config: '/img/rules.conf',
      image: 't',
      ...options,
    });

  test('count before those of the command, and comments, blank lines and states are read', () => {
    const bench = withConfig(
      '# a comment\n\n[inject-error]\nevent = "none"\niotype = "write"\nerrno = "28"\nsector = "0x8"\nonce = "on"\n' +
        '[set-state "s"]\nevent = "pwritev"\nstate = "1"\nnew_state = "2"\n',
    );
    const rules = inject({ event: 'pwritev', state: 2, iotype: 'write', errno: 5 });
    expect(add(bench, rules)).toEqual({});
    const outcomes = ['write 0 512', 'write 4k 512'].map((command) => fails(bench, command));
    expect(outcomes).toEqual([false, true]);
    expect(bench.printed).toContain('write failed: Input/output error');
  });

  test.each([
    ['[foo]\nevent = "none"\n', "There is no option group 'foo'"],
    ['[inject-error]\nevent none\n', 'invalid parameter value: '],
    ['event = "none"\n', 'no group defined'],
    ['[inject-error]\n  \n', 'parse error'],
    ['[inject-error]\nerrno = "5"\n', 'Missing event name for rule'],
    ['[inject-error]\nevent = "foo"\n', 'invalid parameter value: foo'],
    ['[inject-error]\nevent = "none"\niotype = "foo"\n', 'invalid parameter value: foo'],
    ['[inject-error]\nevent = "none"\nerrno = "x"\n', "Parameter 'errno' expects a number"],
    ['[inject-error]\nevent = "none"\nonce = "maybe"\n', "Parameter 'once' expects 'on' or 'off'"],
    ['[inject-error]\nevent = "none"\nbogus = "1"\n', "Invalid parameter 'bogus'"],
    [
      '[inject-error "a"]\nevent = "none"\n[inject-error "a"]\nevent = "none"\n',
      "Duplicate ID 'a' for inject-error",
    ],
    ['[set-state]\nevent = "none"\nonce = "on"\n', "Invalid parameter 'once'"],
    ['[inject-error]\n event="none"\n', 'Invalid parameter \'event="none"\''],
    ['[inject-error]\nevent = none\n', 'invalid parameter value: '],
  ])('%j is refused', (text, complaint) => {
    expect(add(withConfig(text))).toBe(complaint);
  });

  test('a file that is not there, and names that say file and image', () => {
    const bench = withConfig('');
    expect(add(bench, { config: '/img/nope' })).toBe(
      'Could not read blkdebug config file: No such file or directory',
    );
    expect(add(bench)).toEqual({});
    const nodes = bench.run('query-named-block-nodes') as readonly JsonObject[];
    expect(nodes.find((node) => node['node-name'] === 'd')).toMatchObject({
      file: 'blkdebug:/img/rules.conf:/img/t',
    });
    bench.run('blockdev-del', { 'node-name': 'd' });
    const mirrorTo = (target: string): unknown =>
      bench.run('drive-mirror', { device: TOP, target, sync: 'full', mode: 'existing', format: 'qcow2' });
    expect(mirrorTo('blkdebug:/img/t')).toBe('blkdebug requires both config file and image path');
    expect(mirrorTo('blkdebug:/img/nope:/img/t')).toBe(
      'Could not read blkdebug config file: No such file or directory',
    );
  });
});

describe('a mirror whose target always fails', () => {
  // As on QEMU 7.2: requests of at most 1 MiB are in flight, one for each stretch of zeroes; each fails for itself.
  const errors = Array.from({ length: 5 }, () => 'BLOCK_JOB_ERROR');

  test('stop: one event for each request, then it pauses; after a resume the same again', () => {
    const bench = debugged(inject({ event: 'none', errno: 28 }));
    bench.run('blockdev-mirror', { ...mirror, 'on-target-error': 'stop' });
    bench.idle();
    expect(bench.heard()).toEqual(['m:created', 'm:running', '{}', ...errors, 'm:paused']);
    const stopped = { 'io-status': 'nospace', offset: 0, len: 8 * MIB, paused: true };
    expect(bench.run('query-block-jobs')).toMatchObject([stopped]);
    bench.heard();
    bench.run('block-job-resume', { device: 'm' });
    bench.idle();
    // Those that fail at once are heard of before the reply.
    expect(bench.heard()).toEqual(['m:running', ...errors.slice(0, 2), '{}', ...errors.slice(2), 'm:paused']);
    bench.run('block-job-cancel', { device: 'm', force: true });
    bench.idle();
    expect(bench.heard().slice(-4)).toEqual(['m:aborting', 'BLOCK_JOB_CANCELLED', 'm:concluded', 'm:null']);
  });

  test('report: it ends with the error', () => {
    const bench = debugged(inject({ event: 'none', errno: 28 }));
    bench.run('blockdev-mirror', { ...mirror, 'auto-dismiss': false });
    bench.idle();
    expect(bench.run('query-jobs')).toMatchObject([{ error: 'No space left on device' }]);
  });
});

/** A target file that holds only so much. */
function full(capacityBytes: number, job: string, args: JsonObject): Bench {
  const bench = new Bench();
  bench.addTarget();
  bench.qemu.control({ control: 'set-capacity', path: '/img/t', bytes: capacityBytes });
  bench.run(job, { ...mirror, target: 't', ...args });
  bench.idle();
  bench.heard();
  return bench;
}

describe('a target that runs full', () => {
  test.each(['blockdev-mirror', 'blockdev-backup'])('%s goes on when it has grown', (job) => {
    const bench = full(MIB, job, { 'on-target-error': 'enospc' });
    expect(bench.run('query-block-jobs')).toMatchObject([{ 'io-status': 'nospace', status: 'paused' }]);
    bench.qemu.control({ control: 'set-capacity', path: '/img/t', bytes: null });
    bench.heard();
    bench.run('job-resume', { id: 'm' });
    bench.idle();
    expect(bench.heard()).toContain(job === 'blockdev-mirror' ? 'BLOCK_JOB_READY' : 'BLOCK_JOB_COMPLETED');
    bench.guest('flush');
    expect(bench.store.digest('/img/t')).toBe(bench.store.digest('/img/top'));
  });

  test('what was there before needs no new room', () => {
    const bench = new Bench();
    bench.guest('write -P 4 0 1M');
    bench.guest('flush');
    bench.qemu.control({ control: 'set-capacity', path: '/img/top', bytes: 0 });
    expect(bench.guest('write -P 5 0 1M')).not.toContain('failed');
    expect(bench.guest('write -P 5 6M 1M')).toContain('No space left on device');
  });
});

describe('policies of other jobs', () => {
  const policies = ['report', 'ignore', 'enospc', 'stop'] as const;
  const actions = { report: 'aborting', ignore: undefined, enospc: 'aborting', stop: 'paused' } as const;

  test.each(policies)('stream, %s', (policy) => {
    const bench = new Bench();
    bench.qemu.vm.addFault({ at: 'stream.read', do: 'error', times: 1 });
    bench.run('block-stream', { device: TOP, 'job-id': 's', 'on-error': policy });
    bench.idle();
    const heard = bench.heard();
    expect(heard.indexOf('BLOCK_JOB_ERROR')).toBeGreaterThan(0);
    // What was skipped fails the job at its end.
    expect(heard).toContain(`s:${policy === 'ignore' ? 'aborting' : actions[policy]}`);
    if (policy === 'ignore') expect(bench.chain()).toHaveLength(3);
  });

  test.each(policies)('commit, %s', (policy) => {
    const bench = new Bench();
    bench.qemu.vm.addFault({ at: 'commit.write', do: 'error', times: 1 });
    const nodes = { 'top-node': 'libvirt-2-format', 'base-node': 'libvirt-3-format' };
    bench.run('block-commit', { device: TOP, 'job-id': 'c', 'on-error': policy, ...nodes });
    bench.idle();
    const heard = bench.heard();
    if (policy === 'ignore') expect(bench.chain()).toHaveLength(2);
    else expect(heard).toContain(`c:${actions[policy]}`);
  });
});

/** A guest with a disk of the given kind, and one failing write of it. */
function guestError(device: JsonObject, errno: 'ENOSPC' | 'EIO', op = 'write'): Bench {
  const argv = [...chainArgv().slice(0, -1), JSON.stringify({ id: 'disk', drive: TOP, ...device })];
  const bench = new Bench(argv);
  bench.run('cont');
  bench.heard();
  const at = op === 'read' ? 'guest.read' : 'guest.write';
  bench.qemu.vm.addFault({ at, do: 'error', errno, times: 1 });
  bench.qemu.control({ control: 'guest-io', disk: 'disk', op, offset: 4 * MIB, bytes: 512, byte: 9 });
  bench.idle();
  return bench;
}

describe('guest devices', () => {
  test.each(['ide-hd', 'virtio-blk-pci', 'scsi-hd'])(
    '%s, werror=stop: paused, and the request is done again',
    (driver) => {
      const bench = guestError({ driver, werror: 'stop' }, 'ENOSPC');
      expect(bench.heard()).toEqual(['BLOCK_IO_ERROR', 'STOP']);
      expect(bench.heardBytes.join('')).toContain('"nospace": true');
      expect(bench.run('query-status')).toMatchObject({ status: 'io-error', running: false });
      expect(bench.run('query-block')).toMatchObject([{ 'io-status': 'nospace' }]);
      bench.heard();
      bench.run('cont');
      bench.idle();
      expect(bench.heard()).toEqual(['RESUME', '{}']);
      // Only a drive with a name gets its status back: seen on 7.2 and 10.0.
      expect(bench.run('query-block')).toMatchObject([{ 'io-status': 'nospace' }]);
    },
  );

  test.each([
    [{ werror: 'report' }, 'EIO', 'write', 'report', []],
    [{ werror: 'ignore' }, 'EIO', 'write', 'ignore', []],
    [{}, 'EIO', 'write', 'report', []],
    [{}, 'ENOSPC', 'write', 'stop', ['STOP']],
    [{ rerror: 'stop' }, 'EIO', 'read', 'stop', ['STOP']],
    [{}, 'EIO', 'read', 'report', []],
  ] as const)('%j %s on %s: %s', (device, errno, op, action, more) => {
    const bench = guestError({ driver: 'ide-hd', ...device }, errno, op);
    expect(bench.heard()).toEqual(['BLOCK_IO_ERROR', ...more]);
    expect(bench.heardBytes.join('')).toContain(`"action": "${action}"`);
  });

  test('are counted', () => {
    const bench = guestError({ driver: 'ide-hd', werror: 'report' }, 'EIO');
    for (const op of ['write', 'read', 'flush', 'discard']) {
      bench.qemu.control({ control: 'guest-io', disk: 'disk', op, ...(op !== 'flush' && { bytes: 4096 }) });
    }
    bench.idle();
    const [{ stats }] = bench.run('query-blockstats') as readonly [{ readonly stats: JsonObject }];
    expect(stats).toMatchObject({
      wr_bytes: 4096,
      wr_operations: 1,
      failed_wr_operations: 1,
      rd_bytes: 4096,
      rd_operations: 1,
      flush_operations: 1,
      unmap_bytes: 4096,
      // The write that has failed counts.
      wr_highest_offset: 4_194_816,
    });
    expect(stats.wr_total_time_ns).toBeGreaterThan(0);
  });
});
