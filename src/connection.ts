/** A connection: the domains of one driver, and their events. */
import { type Access, requireFullAccess } from './access.ts';
import { checkFlags } from './calls/checks.ts';
import { isListed, startMode } from './calls/define.ts';
import { checkSaveFlags, readSaved } from './calls/save.ts';
import { canonicalUuid, type DomainDefinition, domainFromXml } from './conf/domain.ts';
import { Domain } from './domain.ts';
import type { HypervisorDriver, Volumes } from './driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import { EventHub, type EventPayloads, type SubscribableEvent } from './events.ts';
import { DomainCreateFlags, DomainDefineFlags, LifecycleEvent, ListDomainsFlags } from './flags.ts';
import { emitLifecycle, type StartModeName, startDomain } from './lifecycle.ts';
import { type BlockJobOutcome, Outcomes } from './outcomes.ts';
import { DomainRecord, type Services } from './record.ts';
import { readStatus, recoverDomain } from './recovery.ts';
import type { StateStore } from './state/store.ts';
import type { Timers } from './util/timers.ts';

/** What a connection is opened with. */
export interface ConnectionOptions {
  readonly uri: string;
  readonly driver: HypervisorDriver;
  /** Absolute directory where managed saves are kept; without it there are none. */
  readonly saveDirectory?: string;
  /**
   * Where the domains are written down, so that a connection that comes after this one, or after the death of this
   * process, goes on with them. The connection closes it. Without it everything ends with the connection.
   */
  readonly state?: StateStore;
  /**
   * Pauses the guest around every pivot, so that no crash can leave in doubt which image holds its last writes
   * (libvirt did so from 1.0.0 to 1.2.14).
   */
  readonly pauseGuestAroundPivot?: boolean;
}

/** Opens a connection over a driver that the caller chose; `open` of the package chooses it by URI. */
export function openConnection(options: Omit<ConnectionOptions, 'state'>): Connection {
  return new Connection(options);
}

/**
 * {@link openConnection} that first takes over what an earlier connection left in `state`: definitions, machines that
 * run, jobs; {@link Connection.listBlockJobOutcomes} tells what became of jobs in the meantime.
 * @throws VirtError XML_DETAIL for state that cannot be read, which is left as it is, and of the driver
 */
export async function recoverConnection(options: ConnectionOptions): Promise<Connection> {
  try {
    const connection = new Connection(options);
    await connection.recover();
    return connection;
  } catch (error) {
    await options.driver.leave?.();
    options.state?.close();
    throw error;
  }
}

/** A connection (libvirt: virConnectPtr). Closing it ends every domain that it runs. */
export class Connection {
  readonly uri: string;
  readonly #driver: HypervisorDriver;
  readonly #options: ConnectionOptions;
  readonly #access: Access;
  /** Of a connection for reading: the one whose domains it shows. */
  readonly #shared: Connection | undefined;
  readonly #events: EventHub;
  /** Callbacks that end with this connection. */
  readonly #callbacks = new Set<number>();
  readonly #records: Map<string, DomainRecord>;
  readonly #services: Services;
  /** Outcomes of domains that are gone. */
  readonly #past: Map<string, Outcomes>;
  #lastDomainId = 0;
  #closed = false;
  #onLeave: (() => Promise<void>) | undefined;

  /** @param shared for reading: whose domains they are; see {@link Connection.openReadOnly} */
  constructor(options: ConnectionOptions, shared?: Connection) {
    const { uri, driver } = options;
    this.uri = uri;
    this.#driver = driver;
    this.#options = options;
    this.#shared = shared;
    this.#access = shared ? 'read-only' : 'full';
    this.#events = shared ? shared.#events : new EventHub();
    this.#records = shared ? shared.#records : new Map();
    this.#past = shared ? shared.#past : new Map();
    this.#services = shared ? shared.#services : this.#makeServices(options);
  }

  #makeServices({ driver, saveDirectory, state, pauseGuestAroundPivot }: ConnectionOptions): Services {
    return {
      driver,
      events: this.#events,
      saveDirectory,
      state,
      pausesAroundPivot: pauseGuestAroundPivot ?? false,
      nextDomainId: () => {
        this.#lastDomainId += 1;
        return this.#lastDomainId;
      },
      forget: (record) => {
        record.forgotten = true;
        this.#records.delete(record.uuid);
        if (record.outcomes.all.length > 0) this.#past.set(record.uuid, record.outcomes);
        record.journal();
      },
    };
  }

  /** Time as this connection's domains see it: the wall clock, or virtual in a simulation. */
  get timers(): Timers {
    return this.#driver.timers;
  }

  /** Image files where the domains run; on a connection for reading they can be looked at. */
  get volumes(): Volumes {
    const { volumes } = this.#driver;
    return this.#access === 'full' ? volumes : volumesToLookAt(volumes);
  }

  /**
   * A further connection to the same domains that changes nothing (virConnectOpenReadOnly): each call that would is
   * refused. It is closed by itself, and over when this one is.
   * @param isOnly nobody else holds this connection: it is left, as {@link disconnect} does, when the other is closed
   */
  openReadOnly({ isOnly = false }: { readonly isOnly?: boolean } = {}): Connection {
    this.#assertOpen();
    const reader = new Connection(this.#options, this.#shared ?? this);
    if (isOnly) reader.#onLeave = () => this.disconnect();
    return reader;
  }

  #changes(publicFunction: string): void {
    this.#assertOpen();
    requireFullAccess(this.#access, publicFunction);
  }

  #handleOf({ handle }: DomainRecord): Domain {
    return this.#access === 'full' ? handle : handle.readOnly();
  }

  /**
   * Defines a persistent domain, or redefines one of the same name and UUID (virDomainDefineXML).
   * @throws VirtError XML_DETAIL, XML_ERROR, OPERATION_FAILED when name and UUID belong to two domains
   */
  async defineXML(xml: string, flags = 0): Promise<Domain> {
    this.#changes('virDomainDefineXMLFlags');
    checkFlags(flags, DomainDefineFlags, 'qemuDomainDefineXMLFlags');
    const definition = domainFromXml(xml);
    const record = this.#matching(definition) ?? this.#enter(definition);
    record.guard('define');
    const redefined = record.wasDefined;
    record.persistent = definition;
    record.wasDefined = true;
    // Whoever defines it says which image it uses.
    record.outcomes.clear();
    record.journal();
    emitLifecycle(record, LifecycleEvent.DEFINED, redefined ? 1 : 0);
    return record.handle;
  }

  /**
   * Creates and starts a domain that is gone once it ends (virDomainCreateXML). Of a domain that is defined already it
   * starts this definition and leaves it persistent.
   * @param flags DomainCreateFlags: START_PAUSED
   * @throws VirtError as defineXML and Domain.create, OPERATION_INVALID if it runs
   */
  async createXML(xml: string, flags = 0): Promise<Domain> {
    this.#changes('virDomainCreateXML');
    checkFlags(flags, DomainCreateFlags, 'qemuDomainCreateXML');
    const definition = domainFromXml(xml);
    return this.#start('DomainCreateXML', definition, startMode(flags));
  }

  /**
   * Goes on from a state that Domain.save wrote (virDomainRestoreFlags). The file is left as it is.
   * @param flags DomainSaveRestoreFlags: whether the guest then runs or is paused, whatever it was when it was saved
   * @throws VirtError SYSTEM_ERROR, OPERATION_FAILED for another kind of file, OPERATION_INVALID if the domain runs
   */
  async restore(path: string, flags = 0): Promise<Domain> {
    this.#changes('virDomainRestoreFlags');
    checkSaveFlags(flags, 'qemuDomainRestoreInternal');
    const { xml, mode } = await readSaved(this.#driver, path, flags);
    return this.#start('DomainRestore', domainFromXml(xml), mode, path);
  }

  async #start(
    call: string,
    definition: DomainDefinition,
    mode: StartModeName,
    restoreFrom?: string,
  ): Promise<Domain> {
    const record = this.#matching(definition) ?? this.#enter(definition);
    await record.locked(call, async () => {
      if (record.running) {
        throw new VirtError(ErrorCode.OPERATION_INVALID, `domain '${record.name}' is already active`, {
          domain: ErrorDomain.DOMAIN,
        });
      }
      record.outcomes.clear();
      try {
        await startDomain(record, definition, mode, restoreFrom);
      } catch (error) {
        if (!record.persistent) this.#services.forget(record);
        throw error;
      }
    });
    return record.handle;
  }

  /** virDomainLookupByName. @throws VirtError NO_DOMAIN */
  async lookupByName(name: string): Promise<Domain> {
    return this.#found('name', `'${name}'`, (record) => record.name === name);
  }

  /** virDomainLookupByUUIDString. @throws VirtError NO_DOMAIN, INVALID_ARG for what is no UUID */
  async lookupByUUID(uuid: string): Promise<Domain> {
    const canonical = canonicalUuid(uuid);
    if (canonical === undefined) {
      throw new VirtError(ErrorCode.INVALID_ARG, 'Invalid UUID', {
        domain: ErrorDomain.DOMAIN,
        bare: true,
      });
    }
    return this.#found('uuid', `'${canonical}'`, (record) => record.uuid === canonical);
  }

  /** virDomainLookupByID: running domains only. @throws VirtError NO_DOMAIN */
  async lookupByID(id: number): Promise<Domain> {
    return this.#found('id', String(id), (record) => record.running?.id === id);
  }

  /**
   * Every domain, running or not, in the order in which they were made (virConnectListAllDomains).
   * @param flags ListDomainsFlags
   */
  async listAllDomains(flags = 0): Promise<Domain[]> {
    this.#assertOpen();
    checkFlags(flags, ListDomainsFlags, 'qemuConnectListAllDomains');
    const listed: Domain[] = [];
    for (const record of [...this.#records.values()]) {
      if (await isListed(record, flags)) listed.push(this.#handleOf(record));
    }
    return listed;
  }

  /**
   * Subscribes to an event (virConnectDomainEventRegisterAny). Callbacks run synchronously and in order; those of a
   * call that waits come before it returns.
   * @param domain null: all domains
   * @returns a number for domainEventDeregister
   */
  domainEventRegister<E extends SubscribableEvent>(
    event: E,
    domain: Domain | null,
    callback: (payload: EventPayloads[E]) => void,
  ): number {
    this.#assertOpen();
    const told =
      this.#access === 'full'
        ? callback
        : (payload: EventPayloads[E]) => callback({ ...payload, domain: payload.domain.readOnly() });
    const id = this.#events.register(event, domain?.uuid, told);
    this.#callbacks.add(id);
    return id;
  }

  /** virConnectDomainEventDeregisterAny. @throws VirtError INVALID_ARG for a number that is not registered */
  domainEventDeregister(callbackId: number): void {
    if (this.#callbacks.delete(callbackId) && this.#events.deregister(callbackId)) return;
    throw new VirtError(ErrorCode.INVALID_ARG, `no event callback with id ${callbackId} is registered`);
  }

  /**
   * What became of block jobs of whose end no caller was told: their machine died, or they ended while no connection
   * was there. Kept until the domain is defined or created anew, or {@link forgetBlockJobOutcomes}.
   */
  listBlockJobOutcomes(): BlockJobOutcome[] {
    this.#assertOpen();
    const present = [...this.#records.values()].map(({ outcomes }) => outcomes);
    return [...this.#past.values(), ...present].flatMap((outcomes) => outcomes.list());
  }

  /** Drops what {@link listBlockJobOutcomes} keeps of a domain, also where it says `unknown`. */
  forgetBlockJobOutcomes(domainUuid: string): void {
    this.#changes('forgetBlockJobOutcomes');
    this.#records.get(domainUuid)?.outcomes.clear();
    this.#records.get(domainUuid)?.journal();
    if (this.#past.delete(domainUuid)) this.#services.state?.remove(domainUuid);
  }

  /** Takes over what an earlier connection left; for {@link recoverConnection}. */
  async recover(): Promise<void> {
    const { state } = this.#services;
    if (!state) return;
    for (const status of state.load().map(readStatus)) {
      if (status.definition === undefined) {
        const { name, uuid, outcomes } = status;
        this.#past.set(uuid, new Outcomes(name, uuid, outcomes));
        continue;
      }
      const record = new DomainRecord(
        this.#services,
        status.definition,
        (self) => new Domain(self),
        status.outcomes,
      );
      this.#records.set(record.uuid, record);
      this.#lastDomainId = Math.max(this.#lastDomainId, status.run?.id ?? 0);
      await recoverDomain(record, status);
    }
  }

  /** Ends every running domain and frees all that the driver holds; one for reading ends nothing. Idempotent. */
  async close(): Promise<void> {
    if (this.#shared) return this.#stopReading();
    await this.#leave(() => this.#driver.close());
  }

  /**
   * Closes the connection and leaves its domains running for the next one on the same state. Without state, or with a
   * driver whose machines end with it, this is {@link close}. Idempotent.
   */
  async disconnect(): Promise<void> {
    if (this.#shared) return this.#stopReading();
    const { leave } = this.#driver;
    if (!leave || !this.#services.state) return this.close();
    await this.#leave(() => leave.call(this.#driver));
  }

  async #leave(release: () => Promise<void>): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await release();
    } finally {
      this.#services.state?.close();
      this.#events.clear();
    }
  }

  async #stopReading(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const id of this.#callbacks) this.#events.deregister(id);
    await this.#onLeave?.();
  }

  #assertOpen(): void {
    const over = this.#shared ? this.#shared.#closed : false;
    if (!this.#closed && !over) return;
    throw new VirtError(ErrorCode.INVALID_ARG, 'connection is closed: open another one', {
      domain: ErrorDomain.NONE,
    });
  }

  #enter(definition: DomainDefinition): DomainRecord {
    this.#past.delete(definition.uuid);
    const record = new DomainRecord(this.#services, definition, (self) => new Domain(self));
    this.#records.set(record.uuid, record);
    return record;
  }

  /** The domain that a definition is about; a name and a UUID of two different domains are refused. */
  #matching(definition: DomainDefinition): DomainRecord | undefined {
    const sameUuid = this.#records.get(definition.uuid);
    if (sameUuid && sameUuid.name !== definition.name) {
      throw new VirtError(
        ErrorCode.OPERATION_FAILED,
        `domain '${sameUuid.name}' is already defined with uuid ${definition.uuid}`,
        { domain: ErrorDomain.DOMAIN },
      );
    }
    const sameName = [...this.#records.values()].find((record) => record.name === definition.name);
    if (sameName && sameName !== sameUuid) {
      throw new VirtError(
        ErrorCode.OPERATION_FAILED,
        `domain '${definition.name}' already exists with uuid ${sameName.uuid}`,
        { domain: ErrorDomain.DOMAIN },
      );
    }
    return sameUuid;
  }

  #found(what: string, value: string, matches: (record: DomainRecord) => boolean): Domain {
    this.#assertOpen();
    const record = [...this.#records.values()].find(matches);
    if (record) return this.#handleOf(record);
    throw new VirtError(ErrorCode.NO_DOMAIN, `no domain with matching ${what} ${value}`);
  }
}

/** Image files of which none can be made or unlinked. */
function volumesToLookAt(volumes: Volumes): Volumes {
  const refused = (publicFunction: string) => async (): Promise<never> => {
    throw new VirtError(ErrorCode.OPERATION_DENIED, `read only access prevents ${publicFunction}`, {
      domain: ErrorDomain.STORAGE,
    });
  };
  return {
    inspect: (path, format) => volumes.inspect(path, format),
    stat: (path) => volumes.stat(path),
    create: refused('virStorageVolCreateXML'),
    remove: refused('virStorageVolDelete'),
  };
}
