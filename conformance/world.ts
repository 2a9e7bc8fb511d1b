/** What a check sees: a connection, disks with known contents, every event in order, and a way to wait for facts. */
import type { Connection, Timers } from '../src/index.ts';
import { EventId } from '../src/index.ts';
import { type DiskPlan, withBallast } from './arbitraries.ts';
import { DeadlineViolation, SetupFailure } from './expect.ts';
import { DiskModel } from './model.ts';
import type { ImageSpec, Manager, ManagerOptions, Session } from './target.ts';
import { Vm } from './vm.ts';

/** One event, as it was delivered. */
export type RecordedEvent =
  | {
      readonly id: typeof EventId.BLOCK_JOB | typeof EventId.BLOCK_JOB_2;
      readonly domain: string;
      readonly disk: string;
      readonly type: number;
      readonly status: number;
    }
  | {
      readonly id: typeof EventId.LIFECYCLE;
      readonly domain: string;
      readonly event: number;
      readonly detail: number;
    };

/** How long a fact may take, in ms of the session's own clock. */
const FACT_DEADLINE_MS = 30_000;
const POLL_MS = 10;

/** One case's world. Nothing in it outlives the case. */
export class World {
  readonly connection: Connection;
  readonly session: Session;
  readonly timers: Timers;
  /** What further connections of the case are to be seen through. */
  readonly wrap: (connection: Connection) => Connection;
  /** Every BLOCK_JOB, BLOCK_JOB_2 and LIFECYCLE event in the order of delivery. */
  readonly events: RecordedEvent[] = [];
  readonly #waiters = new Set<() => void>();
  #vms = 0;

  /** `wrap` breaks connections on purpose; `connection` is the session's own where nothing is broken. */
  constructor(
    session: Session,
    wrap: (connection: Connection) => Connection = (inner) => inner,
    connection: Connection = wrap(session.connection),
  ) {
    this.session = session;
    this.wrap = wrap;
    this.connection = connection;
    this.timers = connection.timers;
    this.#record();
  }

  /** Makes the images, and starts a transient domain with this one disk (`vda`, virtio). */
  async start(plan: DiskPlan): Promise<Vm> {
    try {
      return await this.#start(plan);
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new SetupFailure(`the domain of the case could not be started: ${text}`, { cause });
    }
  }

  async #start(wanted: DiskPlan): Promise<Vm> {
    const ballastBytes = this.session.limits?.ballastBytes ?? 0;
    const plan = ballastBytes > 0 ? withBallast(wanted, ballastBytes) : wanted;
    const number = ++this.#vms;
    const model = new DiskModel(plan.capacityBytes);
    const images: ImageSpec[] = [];
    for (const [index, { format, writes }] of plan.layers.entries()) {
      const [below] = images;
      const image: ImageSpec = {
        path: `${this.session.directory}/vm${number}-${index}.${format}`,
        format,
        capacityBytes: plan.capacityBytes,
        writes,
        ...(below ? { backing: { path: below.path, format: below.format } } : {}),
      };
      await this.session.createImage(image);
      for (const write of writes) model.write(write);
      images.unshift(image);
    }
    const name = `case-${number}`;
    const domain = await this.connection.createXML(domainXml(name, number, images, plan.isDeclared));
    const chain = images.map(({ path }) => path);
    return new Vm({ world: this, domain, model, chain, guest: this.session.guest(name, 'vda') });
  }

  /** Begins a management process; see {@link Session.manage}. */
  async manage(options?: ManagerOptions): Promise<Manager> {
    const { manage } = this.session;
    if (!manage) throw new SetupFailure('the target has no management processes to offer');
    const { connection, ...rest } = await manage(options);
    return { ...rest, connection: this.wrap(connection) };
  }

  /** The events of one disk's jobs (BLOCK_JOB_2), in order. */
  jobEvents(domain: string): readonly { readonly type: number; readonly status: number }[] {
    return this.events.flatMap((event) =>
      event.id === EventId.BLOCK_JOB_2 && event.domain === domain
        ? [{ type: event.type, status: event.status }]
        : [],
    );
  }

  /** Waits until `fact` gives something; looks after every event and every few ms of the session's clock. */
  async until<T>(
    what: string,
    fact: () => T | undefined | false | Promise<T | undefined | false>,
  ): Promise<T> {
    const deadline = this.timers.now() + FACT_DEADLINE_MS;
    for (;;) {
      const value = await fact();
      if (value !== undefined && value !== false) return value;
      if (this.timers.now() >= deadline)
        throw new DeadlineViolation(
          `waited ${FACT_DEADLINE_MS} ms for ${what}; events so far: ${this.#describeEvents()}`,
        );
      await this.#somethingHappens();
    }
  }

  #somethingHappens(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiters.delete(wake);
        resolve();
      };
      const cancel = this.timers.after(POLL_MS, wake);
      this.#waiters.add(wake);
    });
  }

  #record(): void {
    const note = (event: RecordedEvent) => {
      this.events.push(event);
      for (const wake of [...this.#waiters]) wake();
    };
    const { connection } = this;
    for (const id of [EventId.BLOCK_JOB, EventId.BLOCK_JOB_2] as const)
      connection.domainEventRegister(id, null, ({ domain, disk, type, status }) =>
        note({ id, domain: domain.name, disk, type, status }),
      );
    connection.domainEventRegister(EventId.LIFECYCLE, null, ({ domain, event, detail }) =>
      note({ id: EventId.LIFECYCLE, domain: domain.name, event, detail }),
    );
  }

  #describeEvents(): string {
    return this.events.length === 0 ? 'none' : JSON.stringify(this.events);
  }
}

/** A small machine; its uuid follows from its number, so that a seed repeats the trace to the byte. */
function domainXml(name: string, number: number, images: readonly ImageSpec[], isDeclared: boolean): string {
  const uuid = `6d6f636b-7669-4274-8000-${String(number).padStart(12, '0')}`;
  const [active, ...backing] = images;
  return `<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${active?.format}'/>
      <source file='${active?.path}'/>
      ${isDeclared ? backingXml(backing) : ''}
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>`;
}

/** The chain below an image, to its very end. */
function backingXml([image, ...below]: readonly ImageSpec[]): string {
  if (!image) return '<backingStore/>';
  const inner = `<format type='${image.format}'/><source file='${image.path}'/>${backingXml(below)}`;
  return `<backingStore type='file'>${inner}</backingStore>`;
}
