/**
 * A management process that is there to be killed: `manager.ts copy ROOT EMULATOR PAUSE` starts a domain, copies its
 * disk and pivots, `manager.ts active-commit …` commits its active image; `manager.ts look …` recovers and says what it
 * finds. One JSON line for each fact.
 */
import { open } from '../../../entry/index.ts';
import { BlockCommitFlags, BlockJobAbortFlags, BlockJobStatus, EventId } from '../../../src/index.ts';

const [what, root = '', emulator = '', pause = 'no'] = process.argv.slice(2);
const say = (fact: object): void => void process.stdout.write(`${JSON.stringify(fact)}\n`);
const connection = await open(
  `qemu:///embed?root=${root}&emulator=${encodeURIComponent(emulator)}&pause-around-pivot=${pause}`,
);

const IMAGE = { format: 'qcow2', capacityBytes: 16 << 20 } as const;

if (what !== 'look') {
  const source = `${root}/source.qcow2`;
  const base = `${root}/destination.qcow2`;
  const commits = what === 'active-commit';
  if (commits) await connection.volumes.create({ path: base, ...IMAGE });
  const backing = commits && { backing: { path: base, format: 'qcow2' } };
  await connection.volumes.create({ path: source, ...IMAGE, ...backing });
  const domain = await connection.createXML(
    `<domain type='qemu'><name>vm</name><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${source}'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
  );
  const ready = new Promise<void>((resolve) => {
    connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ status }) => {
      if (status === BlockJobStatus.READY) resolve();
    });
  });
  if (commits) await domain.blockCommit('vda', null, null, 0, BlockCommitFlags.ACTIVE);
  else
    await domain.blockCopy('vda', `<disk type='file'><driver type='qcow2'/><source file='${base}'/></disk>`);
  await ready;
  say({ ready: true });
  // The guest is given time to begin.
  await new Promise((resolve) => process.stdin.once('data', resolve));
  const began = performance.now();
  // A QEMU that was killed: the next one looks at what that means.
  const told = await domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT).then(
    () => true,
    () => false,
  );
  say({ pivotedMs: performance.now() - began, told });
} else {
  // What was asked before is finished now.
  const domains = await connection.listAllDomains();
  const [domain] = domains;
  for (let looks = 0; domain && looks < 200 && (await domain.getBlockJobInfo('vda')) !== null; looks++) {
    if (looks > 20 && !(await domain.getXMLDesc()).includes("ready='pivot'")) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const xml = await domain?.getXMLDesc();
  const state = await domain?.getState();
  say({
    alive: domain !== undefined,
    active: xml && /<source file='([^']*)'/.exec(xml)?.[1],
    state: state?.state,
    outcomes: connection.listBlockJobOutcomes(),
  });
  const closing = performance.now();
  await connection.close();
  say({ closedMs: performance.now() - closing });
}
