/** The real side of random calls: the management processes one after the other, what they told, and waiting for facts. */
import { type Connection, type Domain, EventId, type Timers } from '../../src/index.ts';
import { DeadlineViolation, expectRefused, Violation } from '../expect.ts';
import { diskXml } from '../lab.ts';
import { canonicalRuns } from '../model.ts';
import type { Guest, Manager, Run, Session } from '../target.ts';
import type { WireMessage } from '../wire.ts';
import { type DiskView, domainXml, readDisks } from '../xml.ts';
import { BALLAST, type Plain, type PublicJobEvent, SLOT_BYTES, type View } from './plain.ts';

/** The one domain. */
export const DOMAIN = 'random';
const UUID = '00000000-0000-4000-8000-00000000ca11';
const DEADLINE_MS = 60_000;
const POLL_MS = 20;
const TEXTS = 8;

/** An I/O error of the guest, as {@link Rig.life} has it. */
export const ioError = (path: string, alias: string, action: number, reason: string): string =>
  `${reason} at ${alias}, ${path}: ${action}`;

/** What random calls are made on. */
export class Rig {
  readonly session: Session;
  /** What else was told since it was last looked at: lifecycle as `event detail`, the guest's errors. */
  life: string[] = [];
  /** Job events that the model has not taken yet. */
  readonly jobs: PublicJobEvent[] = [];
  #manager: Manager;
  readonly #wrap: (connection: Connection) => Connection;
  #connection: Connection;
  readonly #seen = new Set<string>();
  readonly #waiting = new Set<() => void>();
  /** What the last few texts of the domain say: most calls change none. */
  readonly #read = new Map<string, ReadonlyMap<string, DiskView>>();

  /** @param wrap what every connection is seen through */
  constructor(
    session: Session,
    manager: Manager,
    wrap: (connection: Connection) => Connection = (connection) => connection,
  ) {
    this.session = session;
    this.#manager = manager;
    this.#wrap = wrap;
    this.#connection = wrap(manager.connection);
    this.#listen();
  }

  /** The present management process's. */
  get connection(): Connection {
    return this.#connection;
  }

  /** The present management process has not died. */
  get alive(): boolean {
    return this.#manager.alive;
  }

  /** Has the present management process die after so many more effects; resolves when it has. */
  dieAfter(effects: number): Promise<void> {
    return this.#manager.dieAfter(effects);
  }

  /** Another management process takes over from one that goes in peace or dies. */
  async restart(how: 'leave' | 'die'): Promise<void> {
    if (how === 'leave') await this.connection.disconnect();
    this.#manager.die();
    const next = await this.session.manage?.();
    if (!next) throw new Error('this target has no management processes that can die');
    this.#manager = next;
    this.#connection = this.#wrap(next.connection);
    this.#seen.clear();
    this.#listen();
  }

  get timers(): Timers {
    return this.session.connection.timers;
  }

  /** @throws VirtError NO_DOMAIN */
  domain(): Promise<Domain> {
    return this.connection.lookupByName(DOMAIN);
  }

  guest(disk: string): Guest {
    return this.#manager.guest(DOMAIN, disk);
  }

  kill(): void {
    this.#manager.kill(DOMAIN);
  }

  /** Whether the domain is there and runs. */
  async isActive(): Promise<boolean> {
    const domains = await this.connection.listAllDomains();
    return domains.some((domain) => domain.isActive());
  }

  /** Has the machine fail once at a point of the fault plans. */
  async fail(at: string): Promise<void> {
    const fault = at.startsWith('pivot.') ? { errno: 'EIO' } : { errno: 'ENOSPC' };
    const faults = [{ at, do: 'error', times: 1, ...fault }];
    await this.session.control?.(DOMAIN, { control: 'add-faults', faults });
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.timers.after(ms, resolve));
  }

  broken(message: string): never {
    throw new Violation(message);
  }

  /** Breaks the contract unless a call that is under way is refused. */
  async refused(call: Promise<unknown>, code: number): Promise<void> {
    await expectRefused(call, code, 'the call');
  }

  /** The guest asks its disk for something, and nobody waits for it. */
  async ask(request: WireMessage): Promise<void> {
    await this.session.control?.(DOMAIN, { control: 'guest-io', ...request });
  }

  /** Breaks the contract while an image can be read. */
  async expectGone(path: string): Promise<void> {
    const runs = await this.session.contents(path).catch(() => undefined);
    if (runs) throw new Violation(`${path} is still there, and it was to be unlinked`);
  }

  /** Subscribes to the present connection's events. */
  #listen(): void {
    const { connection } = this;
    const note = (tell: () => void) => {
      tell();
      for (const wake of [...this.#waiting]) wake();
    };
    connection.domainEventRegister(EventId.LIFECYCLE, null, ({ event, detail }) =>
      note(() => this.life.push(`${event} ${detail}`)),
    );
    const by = { [EventId.BLOCK_JOB]: 'path', [EventId.BLOCK_JOB_2]: 'target' } as const;
    connection.domainEventRegister(
      EventId.IO_ERROR_REASON,
      null,
      ({ sourcePath, deviceAlias, action, reason }) =>
        note(() => this.life.push(ioError(sourcePath, deviceAlias, action, reason))),
    );
    for (const id of [EventId.BLOCK_JOB, EventId.BLOCK_JOB_2] as const)
      connection.domainEventRegister(id, null, ({ disk, type, status }) =>
        note(() => this.jobs.push({ by: by[id], disk, type, status })),
      );
  }

  /** Has the model take what was told. */
  absorb(plain: Plain): void {
    if (this.jobs.length > 0) this.forgetViews();
    for (const event of this.jobs.splice(0)) {
      try {
        plain.take(event);
      } catch (error) {
        throw new Violation((error as Error).message, { cause: error });
      }
    }
  }

  /** Waits for a fact, looking after every event and every few ms of the session's clock. */
  async until(what: string, fact: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = this.timers.now() + DEADLINE_MS;
    while (!(await fact())) {
      if (this.timers.now() >= deadline) throw new DeadlineViolation(`waited ${DEADLINE_MS} ms for ${what}`);
      await this.#somethingHappens();
    }
  }

  #somethingHappens(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.timers.after(POLL_MS, resolve);
    this.#waiting.add(resolve);
    return promise.finally(() => {
      cancel();
      this.#waiting.delete(resolve);
    });
  }

  /** To read an image takes a process of its own. */
  get isDear(): boolean {
    return this.session.limits?.dearContents === true;
  }

  /** As {@link expectView}, unless nothing has happened to it since and to look again is dear. */
  async expectStill(path: string, view: View, what: string): Promise<void> {
    const seen = `${path} ${view}`;
    if (this.isDear && this.#seen.has(seen)) return;
    await this.expectView(path, view, what);
    this.#seen.add(seen);
  }

  /** The disks of a domain's XML. */
  disksOf(xml: string): ReadonlyMap<string, DiskView> {
    const disks = this.#read.get(xml) ?? readDisks(xml);
    if (this.#read.size >= TEXTS) this.#read.clear();
    this.#read.set(xml, disks);
    return disks;
  }

  /** Something has happened to images: they are looked at again. */
  forgetViews(): void {
    this.#seen.clear();
  }

  /** Waits until an image reads as the view says: nobody tells when a guest's request is through. */
  async untilView(disk: string, path: string, view: View): Promise<void> {
    const wanted = JSON.stringify(canonicalRuns(runsOf(view)));
    await this.until(`what was written to ${path}`, async () => {
      await this.guest(disk).flush();
      const found = await this.session.contents(path);
      return JSON.stringify(canonicalRuns(found)) === wanted;
    });
  }

  /** Breaks the contract unless an image reads as the view says, ballast and all. */
  async expectView(path: string, view: View, what: string): Promise<void> {
    const found = JSON.stringify(canonicalRuns(await this.session.contents(path)));
    const wanted = JSON.stringify(canonicalRuns(runsOf(view)));
    if (found !== wanted) throw new Violation(`${what} ${path} reads as ${found}, not ${wanted}`);
  }
}

function runsOf(view: View): Run[] {
  const slots = view.map((byte, slot) => ({
    offsetBytes: slot * SLOT_BYTES,
    lengthBytes: SLOT_BYTES,
    byte,
  }));
  return [...slots, BALLAST];
}

/** The domain as it is defined: each disk on its active image. */
export const definitionXml = ({ disks, raw }: Plain): string =>
  domainXml(
    DOMAIN,
    UUID,
    disks
      .map(({ target, chain: [active = ''] }) =>
        diskXml(target, active, { format: raw.has(active) ? 'raw' : 'qcow2' }),
      )
      .join(''),
  );
