/** A domain as the connection keeps it: definitions, the present run, the job lock. Internal; users hold a Domain. */
import { describe, type LiveDisk } from './blockjob/live.ts';
import { notRunning } from './calls/checks.ts';
import { followingDiskXml, liveDiskToXml } from './conf/disk.ts';
import { type DomainDefinition, domainToXml, textOfDomain, withDiskElements } from './conf/domain.ts';
import type { Domain } from './domain.ts';
import type { HypervisorDriver } from './driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import type { EventHub } from './events.ts';
import { type GuardedOperation, guardDomain } from './guards.ts';
import { Outcomes } from './outcomes.ts';
import type { RunningDomain } from './running.ts';
import { CheckpointStore, SnapshotStore } from './snapshots.ts';
import { type Launching, writeJournal } from './state/journal.ts';
import type { OutcomeStatus } from './state/status.ts';
import type { StateStore } from './state/store.ts';
import { JobLock } from './util/job-lock.ts';

/** What every domain of a connection shares. */
export interface Services {
  readonly driver: HypervisorDriver;
  readonly events: EventHub;
  /** Where managed saves are kept; undefined: nowhere, so that there are none. */
  readonly saveDirectory: string | undefined;
  /** Where the domains are written down; undefined: nowhere, so that nothing survives. */
  readonly state: StateStore | undefined;
  /** The guest is paused around every pivot. */
  readonly pausesAroundPivot: boolean;
  nextDomainId(): number;
  /** A transient domain has ended, or a persistent one was undefined while shut off. */
  forget(record: DomainRecord): void;
}

/** How long a call waits for another one on the same domain (libvirt: QEMU_JOB_WAIT_TIME). */
const JOB_WAIT_MS = 30_000;

/** One domain. */
export class DomainRecord {
  readonly services: Services;
  readonly name: string;
  readonly uuid: string;
  readonly handle: Domain;
  /** What it was started from, while it runs. */
  live: DomainDefinition | undefined;
  /** What is kept when it is shut off; undefined for a transient domain. */
  persistent: DomainDefinition | undefined;
  /** It has been persistent since this connection knows of it: to define it again is an update. */
  wasDefined = false;
  /** To be started with its host (virDomainSetAutostart); of a persistent domain only. */
  autostart = false;
  running: RunningDomain | undefined;
  /** While it is being started. */
  launching: Launching | undefined;
  /** It is being taken over from an earlier connection: nothing is written down before that is done. */
  recovering = false;
  readonly outcomes: Outcomes;
  /** virDomainShutoffReason, for when it is shut off. */
  offReason = 0;
  /** Set while a call ends the run for a reason of its own. */
  endingAs: 'saved' | 'halted' | 'reverted' | 'unseen' | undefined;
  readonly snapshots = new SnapshotStore();
  readonly checkpoints = new CheckpointStore();
  /** The connection does not list it any more. */
  forgotten = false;
  readonly #lock: JobLock;

  constructor(
    services: Services,
    definition: DomainDefinition,
    makeHandle: (record: DomainRecord) => Domain,
    outcomes: readonly OutcomeStatus[] = [],
  ) {
    this.services = services;
    this.name = definition.name;
    this.uuid = definition.uuid;
    this.#lock = new JobLock(services.driver.timers);
    this.outcomes = new Outcomes(this.name, this.uuid, outcomes);
    this.handle = makeHandle(this);
  }

  /** Writes down what is known; it is safe on return. @throws VirtError SYSTEM_ERROR */
  journal(): void {
    writeJournal(this);
  }

  /**
   * Runs a section under the domain's job lock.
   * @param call libvirt's name of the dispatched call, which those who wait in vain are told
   * @throws VirtError OPERATION_TIMEOUT after 30 s
   */
  async locked<T>(call: string, section: () => Promise<T>): Promise<T> {
    this.requireKnown();
    const timedOut = (holder: string): VirtError =>
      new VirtError(
        ErrorCode.OPERATION_TIMEOUT,
        `cannot acquire state change lock (held by monitor=remoteDispatch${holder})`,
        { domain: ErrorDomain.NONE },
      );
    return this.#lock.run(call, JOB_WAIT_MS, timedOut, section);
  }

  /**
   * Refuses a handle whose domain is gone: undefined while shut off, or a transient one that has ended.
   * @throws VirtError NO_DOMAIN
   */
  requireKnown(): void {
    if (!this.forgotten) return;
    throw new VirtError(ErrorCode.NO_DOMAIN, `no domain with matching uuid '${this.uuid}' (${this.name})`);
  }

  /**
   * The present run.
   * @param part which part of libvirt says that there is none
   * @throws VirtError OPERATION_INVALID
   */
  requireRunning(part: ErrorDomain = ErrorDomain.DOMAIN): RunningDomain {
    if (!this.running) throw notRunning(part);
    return this.running;
  }

  /**
   * Refuses what the domain's block jobs stand in the way of.
   * @throws VirtError as the table of guard rails says
   */
  guard(operation: GuardedOperation): void {
    if (this.running) guardDomain(operation, this.running.jobs.all());
  }

  /** The definition that is in force, or with `inactive` the one for the next start. */
  toXml(inactive: boolean): string {
    const { running, live, persistent } = this;
    if (running && live && !inactive) {
      return domainToXml(
        live,
        running.disks.map((disk) => liveDiskToXml(describe(disk))),
        running.id,
      );
    }
    const definition = persistent ?? live;
    if (!definition)
      throw new VirtError(ErrorCode.NO_DOMAIN, `no domain with matching uuid '${this.uuid}' (${this.name})`);
    return textOfDomain(definition);
  }

  /**
   * Lets the persistent definition follow a disk's new chain, if it named the image that was active before. One that
   * names no more than that image needs to change only when the image does.
   */
  followChain(disk: LiveDisk, previousPath: string | undefined): void {
    const { persistent } = this;
    if (!persistent) return;
    const elements = persistent.disks.map(({ target, source, backing, backingTerminated, element }) => {
      if (target !== disk.target || source?.path !== previousPath) return element;
      const namesChain = backing.length > 0 || backingTerminated;
      const switched = disk.chain[0]?.path !== previousPath;
      return switched || namesChain ? followingDiskXml(element, disk.chain) : element;
    });
    this.persistent = withDiskElements(persistent, elements);
  }
}
