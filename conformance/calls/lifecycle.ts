/** Random calls about the domain's life, its guest, its QEMU and the process that manages it. */
import { BlockJobAbortFlags, ErrorCode, isVirtError, LifecycleEvent } from '../../src/index.ts';
import { attempt, type Call, call, settle } from './call.ts';
import { type Plain, type PlainDisk, SLOT_BYTES } from './plain.ts';
import { definitionXml, ioError, type Rig } from './rig.ts';

const E = LifecycleEvent;
const life = (event: number, detail: number): string => `${event} ${detail}`;
/** How long news are on their way, in ms: after it nothing more comes of what was before. */
const QUIET_MS = 50;

const SUSPENDED_IOERROR = 2;
/** virDomainEventIOErrorAction VIR_DOMAIN_EVENT_IO_ERROR_PAUSE. */
const ACTION_PAUSE = 1;

const BOOTED = [life(E.RESUMED, 0), life(E.STARTED, 0)];

/** virDomainDefineXML of the domain as it is. */
export function defineXML(): Call {
  return call('calls.defineXML()', async (plain, rig) => {
    await rig.connection.defineXML(definitionXml(plain));
    plain.life.push(life(E.DEFINED, plain.wasDefined ? 1 : 0));
    plain.persistent = true;
    plain.wasDefined = true;
    plain.outcomes = [];
    if (plain.domain === 'none') plain.domain = 'off';
  });
}

/** virDomainUndefine; a domain that runs goes on as a transient one. */
export function undefine(): Call {
  return call('calls.undefine()', async (plain, rig) => {
    const refusal = plain.persistent ? undefined : ErrorCode.OPERATION_INVALID;
    if (!(await attempt(plain, rig, refusal, (domain) => domain.undefine()))) return;
    plain.life.push(life(E.UNDEFINED, 0));
    plain.persistent = false;
    if (plain.domain !== 'off') return;
    plain.domain = 'none';
    plain.wasDefined = false;
  });
}

/** virDomainCreateXML of the domain as it is. */
export function createXML(): Call {
  return call('calls.createXML()', async (plain, rig) => {
    const made = rig.connection.createXML(definitionXml(plain));
    if (plain.domain === 'running') return rig.refused(made, ErrorCode.OPERATION_INVALID);
    await made;
    plain.outcomes = [];
    begin(plain);
  });
}

/** virDomainCreate. */
export function start(): Call {
  return call('calls.start()', async (plain, rig) => {
    const refusal = plain.domain === 'running' ? ErrorCode.OPERATION_INVALID : undefined;
    if (await attempt(plain, rig, refusal, (domain) => domain.create())) begin(plain);
  });
}

function begin(plain: Plain): void {
  plain.life.push(...BOOTED);
  plain.domain = 'running';
}

const refusedOff = ({ domain }: Plain): ErrorCode | undefined =>
  domain === 'off' ? ErrorCode.OPERATION_INVALID : undefined;

/** virDomainDestroy: jobs end without an event. */
export function destroy(): Call {
  return call('calls.destroy()', async (plain, rig) => {
    if (!(await attempt(plain, rig, refusedOff(plain), (domain) => domain.destroy()))) return;
    plain.life.push(life(E.SHUTDOWN, 2), life(E.STOPPED, 1));
    plain.stop();
  });
}

/** virDomainSuspend. */
export function suspend(): Call {
  return call('calls.suspend()', async (plain, rig) => {
    if (!(await attempt(plain, rig, refusedOff(plain), (domain) => domain.suspend()))) return;
    if (!plain.paused) plain.life.push(life(E.SUSPENDED, 0));
    plain.paused = true;
  });
}

/** virDomainResume. */
export function resume(): Call {
  return call('calls.resume()', async (plain, rig) => {
    const running = plain.paused ? undefined : ErrorCode.OPERATION_INVALID;
    const refusal = refusedOff(plain) ?? running;
    if (!(await attempt(plain, rig, refusal, (domain) => domain.resume()))) return;
    plain.life.push(life(E.RESUMED, 0));
    plain.paused = false;
    await goOn(plain, rig);
  });
}

/** What met an error is tried again, on whatever the disk is by then. */
async function goOn(plain: Plain, rig: Rig): Promise<void> {
  const { stuck } = plain;
  if (!stuck) return;
  plain.stuck = undefined;
  plain.write(stuck.disk, stuck.slot, stuck.byte);
  await rig.untilView(stuck.disk.target, stuck.disk.chain[0] ?? '', plain.read(stuck.disk));
}

/** The guest fills a slot of a disk with a byte, and flushes. A guest that is paused does nothing. */
export function write(disk: number, slot: number, byte: number): Call {
  return call(`calls.write(${disk}, ${slot}, ${byte})`, async (plain, rig) => {
    const found = plain.disks[disk];
    if (!found || plain.domain !== 'running' || plain.paused) return;
    const guest = rig.guest(found.target);
    await guest.write({ offsetBytes: slot * SLOT_BYTES, lengthBytes: SLOT_BYTES, byte });
    await guest.flush();
    plain.write(found, slot, byte);
  });
}

/** The guest fills a slot of a disk with a byte, and there is no room: it stands still until it is resumed. */
export function writeWithoutRoom(disk: number, slot: number, byte: number): Call {
  return call(`calls.writeWithoutRoom(${disk}, ${slot}, ${byte})`, async (plain, rig) => {
    const found = plain.disks[disk];
    if (!found || plain.domain !== 'running' || plain.paused || !plain.canFail) return;
    await rig.fail('guest.write');
    const alias = `virtio-disk${disk}`;
    const [offset, bytes] = [slot * SLOT_BYTES, SLOT_BYTES];
    await rig.ask({ disk: alias, op: 'write', offset, bytes, byte });
    const suspended = life(E.SUSPENDED, SUSPENDED_IOERROR);
    await rig.until('the pause', () => rig.life.includes(suspended));
    // QEMU names the filter of a job that stands on the disk, which libvirt does not know.
    const hidden = found.job !== undefined && found.job.kind !== 'commit';
    const [path, device] = hidden ? ['', ''] : [found.chain[0] ?? '', alias];
    plain.life.push(ioError(path, device, ACTION_PAUSE, 'enospc'), suspended);
    plain.paused = true;
    plain.stuck = { disk: found, slot, byte };
  });
}

/** QEMU is killed; what it was doing has failed. */
export function killQemu(): Call {
  return call('calls.killQemu()', async (plain, rig) => {
    if (plain.domain !== 'running') return;
    rig.kill();
    await rig.until('the end of the domain', async () => !(await rig.isActive()));
    rig.forgetViews();
    plain.life.push(life(E.STOPPED, 5));
    plain.stop();
  });
}

/** The management process goes in peace (`leave`) or by SIGKILL (`die`), and another one takes over. */
export function restart(how: 'leave' | 'die'): Call {
  return call(`calls.restart('${how}')`, (plain, rig) => takeOver(plain, rig, how));
}

async function takeOver(plain: Plain, rig: Rig, how: 'leave' | 'die'): Promise<void> {
  await rig.restart(how);
  plain.takenOver();
}

/** The management process dies some effects into a pivot: what became of it has to be there to be seen. */
export function dieInPivot(disk: number, effects: number): Call {
  return call(`calls.dieInPivot(${disk}, ${effects})`, async (plain, rig) => {
    const found = plain.disks[disk];
    if (!found?.job?.ready) return takeOver(plain, rig, 'die');
    const { target, job } = found;
    job.recovered = false;
    job.end = 'completed';
    const death = rig.dieAfter(effects).then(() => false);
    const domain = await rig.domain();
    const told = domain.blockJobAbort(target, BlockJobAbortFlags.PIVOT).then(
      () => true,
      // A process that dies is told nothing that counts.
      (error: unknown) => {
        if (isVirtError(error)) return death;
        throw error;
      },
    );
    // What a process is told in the moment of its death it is not told.
    const completed = (await Promise.race([told, death])) && rig.alive;
    // Whoever hears an event in the moment of its death hears it once.
    rig.jobs.length = 0;
    if (completed) plain.finish(found, 'completed');
    await takeOver(plain, rig, 'die');
    if (!completed) await learn(plain, rig, found);
    rig.jobs.length = 0;
  });
}

/** The machine lives, so the pivot either happened or the job is as it was. */
async function learn(plain: Plain, rig: Rig, disk: PlainDisk): Promise<void> {
  const { target, job } = disk;
  let lives = false;
  await rig.until('the end of what was asked before', async () => {
    const domain = await rig.domain();
    const mirror = rig.disksOf(await domain.getXMLDesc()).get(target)?.mirror;
    lives = (await domain.getBlockJobInfo(target)) !== null;
    // A job that is over is without a mirror first, and gone when its images are closed and its end has been told.
    return mirror?.ready !== 'pivot' && lives === (mirror !== undefined);
  });
  await rig.sleep(QUIET_MS);
  if (!lives) plain.finish(disk, 'completed');
  else if (job) job.end = undefined;
}

/** Waits until nothing more comes of what was before. */
export function quiet(): Call {
  return call('calls.quiet()', async (plain, rig) => {
    await rig.sleep(QUIET_MS);
    rig.forgetViews();
    for (const disk of plain.disks) await settle(plain, rig, disk);
  });
}
