import { beforeEach, describe, expect, test } from 'vitest';
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobInfoFlags,
  BlockJobStatus,
  BlockPullFlags,
  type Connection,
  type Domain,
  DomainXMLFlags,
  EventId,
  openConnection,
  VirtError,
} from '../../../src/index.ts';
import { FakeDriver, type FakeMachine } from './fake-driver.ts';

const DOMAIN = `<domain type='qemu'><name>vm</name><uuid>00000000-0000-4000-8000-000000000001</uuid>
<memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/img/top'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/img/other'/><target dev='vdb' bus='virtio'/></disk>
</devices></domain>`;
const COPY = "<disk type='file'><driver type='qcow2'/><source file='/img/copy'/></disk>";
const JOB = 'copy-vda-libvirt-2-format';
const { PIVOT, ASYNC } = BlockJobAbortFlags;

let driver: FakeDriver;
let connection: Connection;
let domain: Domain;
let machine: FakeMachine;
let seen: string[];

async function boot(): Promise<void> {
  driver = new FakeDriver();
  driver.chain('/img/top', '/img/mid', '/img/base');
  driver.chain('/img/other');
  connection = openConnection({ uri: 'fake:///', driver });
  domain = await connection.createXML(DOMAIN);
  const started = driver.machines[0];
  if (!started) throw new Error('no machine was started');
  machine = started;
  seen = [];
  const name = Object.fromEntries(Object.entries(BlockJobStatus).map(([key, value]) => [value, key]));
  connection.domainEventRegister(EventId.BLOCK_JOB, domain, ({ disk, status }) =>
    seen.push(`${disk} ${name[status]}`),
  );
  connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ disk, status }) =>
    seen.push(`${disk} ${name[status]}`),
  );
}

beforeEach(boot);

const error = (promise: Promise<unknown>): Promise<VirtError> =>
  promise.then(
    () => expect.fail('was not refused'),
    (reason) => {
      expect(reason).toBeInstanceOf(VirtError);
      return reason as VirtError;
    },
  );

/** Code, domain and message of a refusal. */
const refusal = async (promise: Promise<unknown>): Promise<[number, number, string]> => {
  const { code, domain: part, message } = await error(promise);
  return [code, part, message];
};

describe('a copy', () => {
  test('is registered before it is sent: READY and the end may come before the reply', async () => {
    machine.on.startJob = () => {
      machine.emit({ type: 'job-ready', id: JOB });
      machine.emit({ type: 'job-ready', id: JOB });
    };
    await domain.blockCopy('vda', COPY);
    expect(seen).toEqual(['/img/top READY', 'vda READY']);
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
    expect(seen.slice(2)).toEqual(['/img/copy COMPLETED', 'vda COMPLETED']);
    expect(await domain.getBlockJobInfo('vda')).toBeNull();
  });

  test('that ends before its start was answered is not lost', async () => {
    machine.on.startJob = () =>
      machine.emit({ type: 'job-ended', id: JOB, outcome: 'failed', error: 'No space left' });
    await domain.blockCopy('vda', COPY);
    await machine.on.releaseImages?.([]);
    expect(seen).toEqual(['/img/top FAILED', 'vda FAILED']);
  });

  test('that is refused leaves nothing behind, and the next one gets a new index', async () => {
    machine.on.startJob = () => {
      throw new VirtError(1, "unable to execute QEMU command 'blockdev-mirror': no");
    };
    expect((await error(domain.blockCopy('vda', COPY))).code).toBe(1);
    expect(machine.calls.map(({ name }) => name)).toEqual(['prepareTarget', 'startJob', 'discardTarget']);
    expect(await domain.getXMLDesc()).not.toContain('<mirror');
    delete machine.on.startJob;
    await domain.blockCopy('vda', COPY);
    expect(await domain.getXMLDesc()).toContain("<source file='/img/copy' index='6'/>");
  });

  test('keeps the job alive when a pivot is refused by the hypervisor', async () => {
    await domain.blockCopy('vda', COPY);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.on.concludeJob = () => {
      throw new VirtError(1, "unable to execute QEMU command 'job-complete': busy");
    };
    await error(domain.blockJobAbort('vda', PIVOT));
    expect(await domain.getXMLDesc()).toContain("ready='yes'");
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
  });

  test('that somebody else ended in READY keeps the source', async () => {
    await domain.blockCopy('vda', COPY);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    const xml = await domain.getXMLDesc();
    expect(xml).toContain("<source file='/img/top' index='2'/>");
    expect(xml).not.toContain('<mirror');
  });

  test('aborted in any way is CANCELED, and its destination is released', async () => {
    for (const outcome of ['completed', 'cancelled', 'failed'] as const) {
      await boot();
      await domain.blockCopy('vda', COPY);
      machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome });
      await domain.blockJobAbort('vda');
      expect(seen).toEqual(['/img/top CANCELED', 'vda CANCELED']);
      expect(machine.calls.at(-1)).toEqual({
        name: 'releaseImages',
        argument: [{ index: 5, path: '/img/copy', format: 'qcow2' }],
      });
    }
  });

  test('says why a pivot failed, and stays on the source', async () => {
    await domain.blockCopy('vda', COPY);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.on.concludeJob = () =>
      machine.emit({ type: 'job-ended', id: JOB, outcome: 'failed', error: 'No space left on device' });
    expect(await refusal(domain.blockJobAbort('vda', PIVOT))).toEqual([
      9,
      10,
      `operation failed: block job '${JOB}' failed while pivoting: No space left on device`,
    ]);
    expect(await domain.getXMLDesc()).toContain("<source file='/img/top' index='2'/>");
  });

  test('shows each step in the XML as libvirt does', async () => {
    await domain.blockCopy('vda', COPY);
    expect(
      await domain.getXMLDesc(),
    ).toContain(`      <mirror type='file' file='/img/copy' format='qcow2' job='copy'>
        <format type='qcow2'/>
        <source file='/img/copy' index='5'/>
        <backingStore/>
      </mirror>
      <target dev='vda' bus='virtio'/>`);
    machine.emit({ type: 'job-ready', id: JOB });
    expect(await domain.getXMLDesc()).toContain("job='copy' ready='yes'>");
    await domain.blockJobAbort('vda', PIVOT | ASYNC);
    expect(await domain.getXMLDesc()).toContain("job='copy' ready='pivot'>");
    expect(await domain.getXMLDesc(DomainXMLFlags.INACTIVE)).not.toContain('mirror');
    machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await Promise.resolve();
    const xml = await domain.getXMLDesc();
    expect(xml).toContain("<source file='/img/copy' index='5'/>\n      <backingStore/>");
    expect(xml).not.toContain('<mirror');
  });

  test('shallow inherits the source chain at the pivot', async () => {
    await domain.blockCopy('vda', COPY, {}, BlockCopyFlags.SHALLOW);
    expect(await domain.getXMLDesc()).toMatch(/<source file='\/img\/copy' index='5'\/>\n {6}<\/mirror>/);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
    expect(await domain.getXMLDesc()).toMatch(/copy' index='5'\/>\n\s+<backingStore type='file' index='3'>/);
    expect(machine.calls.at(-1)?.argument).toEqual([{ index: 2, path: '/img/top', format: 'qcow2' }]);
  });
});

describe('refusals, in libvirt 9.0 words', () => {
  const rows: readonly [string, () => Promise<unknown>, number, number, string][] = [
    [
      'unknown disk',
      () => domain.blockPull('vdz'),
      8,
      10,
      "invalid argument: disk 'vdz' not found in domain",
    ],
    [
      'flags',
      () => domain.blockPull('vda', 0, 0x1),
      8,
      10,
      'unsupported flags (0x1) in function qemuDomainBlockPull',
    ],
    [
      'MiB overflow',
      () => domain.blockPull('vda', 8796093022208n),
      82,
      10,
      'numerical overflow: bandwidth must be less than 8796093022207',
    ],
    [
      'no job',
      () => domain.blockJobAbort('vda'),
      8,
      10,
      'invalid argument: disk vda does not have an active block job',
    ],
    [
      'set-speed without job',
      () => domain.blockJobSetSpeed('vda', 1),
      8,
      10,
      'invalid argument: disk vda does not have an active block job',
    ],
    [
      'relative destination',
      () => domain.blockCopy('vda', "<disk type='file'><source file='x'/></disk>"),
      8,
      10,
      'invalid argument: absolute path must be used as block copy target',
    ],
    [
      'other root',
      () => domain.blockCopy('vda', '<foo/>'),
      27,
      5,
      "XML error: expecting root element of 'disk', not 'foo'",
    ],
    ['no source', () => domain.blockCopy('vda', '<disk/>'), 19, 20, 'missing source information for device'],
    [
      'granularity',
      () => domain.blockCopy('vda', COPY, { granularity: 3 }),
      8,
      10,
      'invalid argument: granularity must be power of 2',
    ],
    [
      'unknown parameter',
      () => domain.blockCopy('vda', COPY, { foo: 1 } as object),
      74,
      0,
      "argument unsupported: parameter 'foo' not supported",
    ],
    [
      'shallow raw',
      () =>
        domain.blockCopy(
          'vda',
          "<disk type='file'><driver type='raw'/><source file='/n'/></disk>",
          {},
          BlockCopyFlags.SHALLOW,
        ),
      67,
      10,
      "unsupported configuration: shallow copy of disk 'vda' into a raw file is not possible",
    ],
    [
      'destination there',
      () => domain.blockCopy('vda', COPY.replace('/img/copy', '/img/base')),
      67,
      10,
      'unsupported configuration: external destination file for disk vda already exists and is not a block device: /img/base',
    ],
    [
      'destination missing',
      () => domain.blockCopy('vda', COPY, {}, BlockCopyFlags.REUSE_EXT),
      38,
      10,
      'missing destination file for disk vda: /img/copy: No such file or directory',
    ],
    [
      'active flag',
      () => domain.blockCommit('vda'),
      8,
      10,
      "invalid argument: commit of 'vda' active layer requires active flag",
    ],
    [
      'not active',
      () => domain.blockCommit('vda', null, 'vda[3]', 0, BlockCommitFlags.ACTIVE),
      8,
      10,
      "invalid argument: active commit requested but '/img/mid' is not active",
    ],
    [
      'base not found',
      () => domain.blockCommit('vda', '/nope', null, 0, BlockCommitFlags.ACTIVE),
      8,
      18,
      "invalid argument: could not find image '/nope' beneath '/img/top' in chain for 'vda'",
    ],
    [
      'no such index',
      () => domain.blockCommit('vda', 'vda[77]', null, 0, BlockCommitFlags.ACTIVE),
      8,
      18,
      "invalid argument: could not find backing store index '77' in chain for 'vda'",
    ],
    [
      'other disk index',
      () => domain.blockCommit('vda', 'vdb[1]', null, 0, BlockCommitFlags.ACTIVE),
      8,
      18,
      "invalid argument: requested target 'vdb' does not match target 'vda'",
    ],
    [
      'single image',
      () => domain.blockCommit('vdb', null, null, 0, BlockCommitFlags.ACTIVE),
      8,
      18,
      "invalid argument: could not find base image in chain for 'vdb'",
    ],
    [
      'shallow base',
      () =>
        domain.blockCommit('vda', '/img/base', null, 0, BlockCommitFlags.ACTIVE | BlockCommitFlags.SHALLOW),
      8,
      10,
      "invalid argument: base '/img/base' is not immediately below '/img/top' in chain for '/img/top'",
    ],
  ];
  test.each(rows)('%s', async (_what, call, code, part, message) => {
    expect(await refusal(call())).toEqual([code, part, message]);
    expect(machine.calls).toEqual([]);
  });

  test('a persistent domain needs TRANSIENT_JOB', async () => {
    await connection.defineXML(DOMAIN);
    expect(await refusal(domain.blockCopy('vda', COPY))).toEqual([
      55,
      10,
      'Requested operation is not valid: domain is not transient',
    ]);
    await domain.blockCopy('vda', COPY, {}, BlockCopyFlags.TRANSIENT_JOB);
  });

  test('everything on a domain that is shut off, and commit only after its look-ups', async () => {
    await connection.defineXML(DOMAIN);
    await domain.destroy();
    for (const call of [
      () => domain.blockPull('vdz'),
      () => domain.blockJobAbort('vdz'),
      () => domain.getBlockJobInfo('vdz'),
    ]) {
      expect(await refusal(call())).toEqual([
        55,
        20,
        'Requested operation is not valid: domain is not running',
      ]);
    }
    expect((await error(domain.blockCommit('vda'))).message).toBe(
      "invalid argument: could not find base image in chain for 'vda'",
    );
  });

  test('a second job: 83 beside a mirror, 84 beside a pull', async () => {
    const message = "disk 'vda' already in active block job";
    await domain.blockCopy('vda', COPY);
    expect(await refusal(domain.blockPull('vda'))).toEqual([83, 10, `block copy still active: ${message}`]);
    await boot();
    await domain.blockPull('vda');
    expect(await refusal(domain.blockCopy('vda', COPY))).toEqual([
      84,
      10,
      `Operation not supported: ${message}`,
    ]);
  });

  test('a pivot that comes too early, and a second end', async () => {
    await domain.blockCopy('vda', COPY);
    expect(await refusal(domain.blockJobAbort('vda', PIVOT))).toEqual([
      83,
      10,
      `block copy still active: block job '${JOB}' not ready for pivot yet`,
    ]);
    await domain.blockJobAbort('vda', ASYNC);
    expect(await refusal(domain.blockJobAbort('vda', PIVOT))).toEqual([
      55,
      10,
      "Requested operation is not valid: block job on disk 'vda' is still being ended",
    ]);
  });
});

describe('waiting', () => {
  test('destroy gets through a synchronous abort, whose caller is told', async () => {
    await domain.blockCopy('vda', COPY);
    const abort = error(domain.blockJobAbort('vda'));
    await domain.destroy();
    expect((await abort).message).toBe('operation failed: domain is not running');
    expect(seen).toEqual([]);
  });

  test('another call gives up after 30 s and names the holder', async () => {
    await domain.blockCopy('vda', COPY);
    const abort = error(domain.blockJobAbort('vda'));
    const info = refusal(domain.getBlockJobInfo('vda'));
    driver.timers.advance(30_000);
    expect(await info).toEqual([
      68,
      0,
      'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainBlockJobAbort)',
    ]);
    await domain.destroy();
    await abort;
  });

  test('a subscriber that throws disturbs nobody', async () => {
    const uncaught: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (reason) => uncaught.push(reason));
    connection.domainEventRegister(EventId.LIFECYCLE, null, () => {
      throw new Error('mine');
    });
    await domain.suspend();
    await new Promise((resolve) => setImmediate(resolve));
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(uncaught).toHaveLength(1);
    expect((await domain.getState()).state).toBe(3);
  });
});

describe('progress and speed', () => {
  const INFO = { id: JOB, phase: 'running', speedBytesPerSecond: 1 } as const;
  const rows: readonly [number, number, boolean | undefined, number, number][] = [
    [0, 0, true, 1, 1],
    [0, 0, false, 0, 1],
    [0, 0, undefined, 0, 0],
    [100, 100, false, 99, 100],
    [100, 100, true, 100, 100],
    [100, 100, undefined, 100, 100],
    [40, 100, false, 40, 100],
  ];
  test.each(rows)('%i of %i, ready %s is %i of %i', async (current, total, ready, cur, end) => {
    await domain.blockCopy('vda', COPY);
    machine.snapshots = [{ ...INFO, current, total, ready }];
    expect(await domain.getBlockJobInfo('vda')).toEqual({ type: 2, bandwidth: 1, cur, end });
  });

  test('a job that the hypervisor does not list yet is 0 of 1', async () => {
    await domain.blockPull('vda');
    expect(await domain.getBlockJobInfo('vda', BlockJobInfoFlags.BANDWIDTH_BYTES)).toEqual({
      type: 1,
      bandwidth: 0,
      cur: 0,
      end: 1,
    });
  });

  test('MiB become bytes, bytes stay', async () => {
    await domain.blockPull('vda', 3);
    expect(machine.calls.at(-1)?.argument).toMatchObject({ speedBytesPerSecond: 3 * 1_048_576 });
    await domain.blockJobSetSpeed('vda', 5, 1);
    expect(machine.calls.at(-1)?.argument).toMatchObject({ bytesPerSecond: 5 });
    await domain.blockPull('vdb', 7, BlockPullFlags.BANDWIDTH_BYTES);
    expect(machine.calls.at(-1)?.argument).toMatchObject({ speedBytesPerSecond: 7 });
  });
});

describe('chains', () => {
  const completed = (id: string) => async (): Promise<void> => {
    machine.emit({ type: 'job-ended', id, outcome: 'completed' });
    await Promise.resolve();
    await Promise.resolve();
  };

  test('disks are numbered from the last', async () => {
    expect(machine.spec.disks.map(({ chain }) => chain.map(({ index }) => index))).toEqual([[2, 3, 4], [1]]);
  });

  test('a pull leaves the active image alone', async () => {
    await domain.blockPull('vda');
    await completed('pull-vda-libvirt-2-format')();
    expect(await domain.getXMLDesc()).toMatch(/top' index='2'\/>\n\s+<backingStore\/>/);
    expect(machine.calls.at(-1)?.argument).toMatchObject([{ index: 3 }, { index: 4 }]);
  });

  test('an intermediate commit takes out what it merged', async () => {
    await domain.blockCommit('vda', 'vda[4]', 'vda[3]');
    expect(machine.calls.at(-1)?.argument).toMatchObject({ kind: 'commit', backingName: '/img/base' });
    await completed('commit-vda-libvirt-3-format')();
    expect(await domain.getXMLDesc()).toMatch(/top' index='2'\/>\n\s+<backingStore type='file' index='4'>/);
  });

  test('an active commit shows its base as mirror and pivots to it', async () => {
    await domain.blockCommit('vda', null, null, 0, BlockCommitFlags.ACTIVE);
    const id = 'commit-vda-libvirt-2-format';
    machine.emit({ type: 'job-ready', id });
    expect(await domain.getXMLDesc()).toContain(`<mirror type='file' job='active-commit' ready='yes'>
        <format type='qcow2'/>
        <source file='/img/base' index='4'/>
      </mirror>`);
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
    expect(await domain.getXMLDesc()).toContain(
      "<source file='/img/base' index='4'/>\n      <backingStore/>",
    );
    expect(seen).toEqual(['/img/top READY', 'vda READY', '/img/base COMPLETED', 'vda COMPLETED']);
  });

  test('the persistent definition shows what was named, never what was found by reading headers', async () => {
    await connection.defineXML(DOMAIN);
    const inactive = () => domain.getXMLDesc(DomainXMLFlags.INACTIVE);
    const before = await inactive();
    await domain.blockRebase('vda', '/img/base');
    await completed('pull-vda-libvirt-2-format')();
    expect(await inactive()).toBe(before);
    await domain.blockCopy('vda', COPY, {}, BlockCopyFlags.TRANSIENT_JOB | BlockCopyFlags.SHALLOW);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
    expect(await domain.getXMLDesc()).toContain("<backingStore type='file' index='4'>");
    expect(await inactive()).toMatch(/<source file='\/img\/copy'\/>\n\s+<target/);
  });

  test('the persistent definition follows a pivot when it named the old source', async () => {
    await connection.defineXML(DOMAIN);
    await domain.blockCopy('vda', COPY, {}, BlockCopyFlags.TRANSIENT_JOB);
    machine.emit({ type: 'job-ready', id: JOB });
    machine.on.concludeJob = () => machine.emit({ type: 'job-ended', id: JOB, outcome: 'completed' });
    await domain.blockJobAbort('vda', PIVOT);
    const inactive = await domain.getXMLDesc(DomainXMLFlags.INACTIVE);
    expect(inactive).toContain("<source file='/img/copy'/>\n      <backingStore/>");
    expect(inactive).toContain("<source file='/img/other'/>");
    await domain.destroy();
    await domain.create();
    expect(driver.machines[1]?.spec.disks[0]?.chain.map(({ path }) => path)).toEqual(['/img/copy']);
  });
});
