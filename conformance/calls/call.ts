/** What a random call is made of: it is made on the real side, held to what the model says of it, and then all is compared. */
import type fc from 'fast-check';
import {
  BlockJobInfoFlags,
  type Domain,
  DomainState,
  DomainXMLFlags,
  ErrorCode,
  isVirtError,
} from '../../src/index.ts';
import { expect, expectEqual, Violation } from '../expect.ts';
import type { DiskView } from '../xml.ts';
import { isMirror, type Plain, type PlainDisk, typeOf } from './plain.ts';
import type { Rig } from './rig.ts';

/** virDomainPausedReason VIR_DOMAIN_PAUSED_IOERROR. */
const PAUSED_IOERROR = 5;

/** A fast-check command over the plain model and the real side. */
export type Call = fc.AsyncCommand<Plain, Rig>;

/** Makes a call; `text` is what writes it down again. After it everything is compared. */
export function call(text: string, run: Call['run'], check: Call['check'] = () => true): Call {
  return {
    check,
    async run(plain, rig) {
      try {
        await run(plain, rig);
        await agree(plain, rig);
      } catch (error) {
        // The name of the call belongs to the failure: a sequence has many.
        if (error instanceof Violation) error.message = `${text}: ${error.message}`;
        throw error;
      }
    },
    toString: () => text,
  };
}

/**
 * Makes a call on the domain, which has to be refused with a code, or accepted where there is none.
 * @returns whether it was accepted
 */
export async function attempt(
  { domain }: Plain,
  rig: Rig,
  refusal: ErrorCode | undefined,
  make: (domain: Domain) => Promise<unknown>,
): Promise<boolean> {
  const code = domain === 'none' ? ErrorCode.NO_DOMAIN : refusal;
  const error: unknown = await rig
    .domain()
    .then(make)
    .then(
      () => undefined,
      (reason: unknown) => reason ?? new Error('rejected with nothing'),
    );
  if (error === undefined) {
    expect(code === undefined, `accepted, expected a refusal with code ${code}`);
    return true;
  }
  if (!isVirtError(error)) throw error;
  const text = `${error.code} (${error.message})`;
  expect(error.code === code, `refused with ${text}, expected ${code === undefined ? 'none' : code}`);
  return false;
}

/** Waits until a disk's job is what the model can say something about: over, ready, or held back. */
export async function settle(plain: Plain, rig: Rig, disk: PlainDisk): Promise<void> {
  const isSettled = ({ job }: PlainDisk) => {
    if (!job) return true;
    return job.end === undefined && (job.ready || (job.held && !isMirror(job)) || (job.held && !job.ready));
  };
  await rig.until(`what becomes of the ${disk.job?.kind} on ${disk.target}`, () => {
    rig.absorb(plain);
    return isSettled(disk);
  });
}

/** Holds everything that can be asked to the model. */
export async function agree(plain: Plain, rig: Rig): Promise<void> {
  rig.absorb(plain);
  expectEqual(rig.life.splice(0), plain.life.splice(0), "events of the domain's life and the guest's errors");
  for (const path of plain.unlinked.splice(0)) await rig.expectGone(path);
  const outcomes = rig.connection.listBlockJobOutcomes().map(({ disk, outcome }) => `${disk} ${outcome}`);
  const wanted = plain.outcomes.map(({ disk, outcome }) => `${disk} ${outcome}`);
  expectEqual(outcomes.sort(), wanted.sort(), 'outcomes of jobs');
  const names = (await rig.connection.listAllDomains()).map(({ name }) => name);
  expectEqual(names.length, plain.domain === 'none' ? 0 : 1, 'how many domains there are');
  if (plain.domain === 'none') return;
  const domain = await rig.domain();
  expectEqual(domain.isPersistent(), plain.persistent, 'whether the domain is persistent');
  await agreeOnState(plain, domain);
  if (plain.persistent) await agreeOnDefinition(plain, rig, domain);
  if (plain.domain === 'running') await agreeOnDisks(plain, rig, domain);
}

async function agreeOnState(plain: Plain, domain: Domain): Promise<void> {
  const running = plain.paused ? DomainState.PAUSED : DomainState.RUNNING;
  const { state, reason } = await domain.getState();
  expectEqual<number>(state, plain.domain === 'off' ? DomainState.SHUTOFF : running, "the domain's state");
  if (plain.domain === 'running' && plain.paused)
    expectEqual(reason === PAUSED_IOERROR, plain.stuck !== undefined, 'whether an error is why it is paused');
}

async function agreeOnDefinition({ disks }: Plain, rig: Rig, domain: Domain): Promise<void> {
  const views = rig.disksOf(await domain.getXMLDesc(DomainXMLFlags.INACTIVE));
  for (const { target, chain } of disks)
    expectEqual(views.get(target)?.chain[0], chain[0], `the image of ${target} in the definition`);
}

async function agreeOnDisks(plain: Plain, rig: Rig, domain: Domain): Promise<void> {
  const views = rig.disksOf(await domain.getXMLDesc());
  for (const disk of plain.disks) await agreeOnDisk(disk, views.get(disk.target), domain);
  for (const disk of plain.disks) {
    if (rig.isDear) {
      // Another process sees only what is flushed, and not what a commit keeps to itself.
      if (disk.job) continue;
      await rig.guest(disk.target).flush();
    }
    await rig.expectStill(disk.chain[0] ?? '', plain.read(disk), `the active image of ${disk.target}`);
  }
}

async function agreeOnDisk(
  { target, chain, job }: PlainDisk,
  view: DiskView | undefined,
  domain: Domain,
): Promise<void> {
  expectEqual(view?.chain, chain, `the chain of ${target}`);
  const hasMirror = job !== undefined && isMirror(job);
  const mirror = hasMirror && { path: job.writes, job: job.kind, ...(job.ready && { ready: 'yes' }) };
  expectEqual<unknown>(view?.mirror, mirror || undefined, `the mirror of ${target}`);
  const info = await domain.getBlockJobInfo(target, BlockJobInfoFlags.BANDWIDTH_BYTES);
  expectEqual<number | undefined>(info?.type, job && typeOf(job), `the job of ${target}`);
  if (info && !job?.ready)
    expect(info.cur < info.end || info.end === 0, `${target} is at its end and not ready`);
}
