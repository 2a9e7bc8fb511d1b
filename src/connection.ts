/** A connection: the domains of one driver, and their events. */
import { type DomainDefinition, domainFromXml } from './conf/domain.ts';
import { Domain } from './domain.ts';
import type { HypervisorDriver, Volumes } from './driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from './errors.ts';
import { EventHub, type EventPayloads, type SubscribableEvent } from './events.ts';
import { LifecycleEvent } from './flags.ts';
import { emitLifecycle, startDomain } from './lifecycle.ts';
import { DomainRecord, type Services } from './record.ts';
import type { Timers } from './util/timers.ts';

/** What a connection is opened with. */
export interface ConnectionOptions {
  readonly uri: string;
  readonly driver: HypervisorDriver;
}

/** Opens a connection over a driver that the caller chose; `open` of the package chooses it by URI. */
export function openConnection(options: ConnectionOptions): Connection {
  return new Connection(options);
}

/** A connection (libvirt: virConnectPtr). Closing it ends every domain that it runs. */
export class Connection {
  readonly uri: string;
  readonly #driver: HypervisorDriver;
  readonly #events = new EventHub();
  readonly #records = new Map<string, DomainRecord>();
  readonly #services: Services;
  #lastDomainId = 0;
  #closed = false;

  constructor({ uri, driver }: ConnectionOptions) {
    this.uri = uri;
    this.#driver = driver;
    this.#services = {
      driver,
      events: this.#events,
      nextDomainId: () => {
        this.#lastDomainId += 1;
        return this.#lastDomainId;
      },
      forget: (record) => {
        record.forgotten = true;
        this.#records.delete(record.uuid);
      },
    };
  }

  /** Time as this connection's domains see it: the wall clock, or virtual in a simulation. */
  get timers(): Timers {
    return this.#driver.timers;
  }

  /** Image files where the domains run. */
  get volumes(): Volumes {
    return this.#driver.volumes;
  }

  /**
   * Defines a persistent domain, or redefines one of the same name and UUID (virDomainDefineXML).
   * @throws VirtError XML_DETAIL, XML_ERROR, OPERATION_FAILED when name and UUID belong to two domains
   */
  async defineXML(xml: string): Promise<Domain> {
    this.#assertOpen();
    const definition = domainFromXml(xml);
    const existing = this.#matching(definition);
    const record = existing ?? this.#enter(definition);
    const redefined = existing !== undefined;
    record.persistent = definition;
    emitLifecycle(record, LifecycleEvent.DEFINED, redefined ? 1 : 0);
    return record.handle;
  }

  /**
   * Creates and starts a domain that is gone once it ends (virDomainCreateXML). Of a domain that is defined already it
   * starts this definition and leaves it persistent.
   * @throws VirtError as defineXML and Domain.create, OPERATION_INVALID if it runs
   */
  async createXML(xml: string): Promise<Domain> {
    this.#assertOpen();
    const definition = domainFromXml(xml);
    const record = this.#matching(definition) ?? this.#enter(definition);
    await record.locked('DomainCreateXML', async () => {
      if (record.running) {
        throw new VirtError(ErrorCode.OPERATION_INVALID, `domain '${record.name}' is already active`, {
          domain: ErrorDomain.DOMAIN,
        });
      }
      try {
        await startDomain(record, definition);
      } catch (error) {
        if (!record.persistent) this.#services.forget(record);
        throw error;
      }
    });
    return record.handle;
  }

  /** virDomainLookupByName. @throws VirtError NO_DOMAIN */
  async lookupByName(name: string): Promise<Domain> {
    return this.#found('name', name, (record) => record.name === name);
  }

  /** virDomainLookupByUUIDString. @throws VirtError NO_DOMAIN */
  async lookupByUUID(uuid: string): Promise<Domain> {
    return this.#found('uuid', uuid, (record) => record.uuid === uuid);
  }

  /** Every domain, running or not, in the order in which they were made (virConnectListAllDomains). */
  async listAllDomains(): Promise<Domain[]> {
    this.#assertOpen();
    return [...this.#records.values()].map((record) => record.handle);
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
    return this.#events.register(event, domain?.uuid, callback);
  }

  /** virConnectDomainEventDeregisterAny. @throws VirtError INVALID_ARG for a number that is not registered */
  domainEventDeregister(callbackId: number): void {
    if (this.#events.deregister(callbackId)) return;
    throw new VirtError(ErrorCode.INVALID_ARG, `no event callback with id ${callbackId} is registered`);
  }

  /** Ends every running domain and frees all that the driver holds. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#driver.close();
    this.#events.clear();
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new VirtError(ErrorCode.INVALID_ARG, 'connection is closed: open another one', {
      domain: ErrorDomain.NONE,
    });
  }

  #enter(definition: DomainDefinition): DomainRecord {
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
    if (record) return record.handle;
    throw new VirtError(ErrorCode.NO_DOMAIN, `no domain with matching ${what} '${value}'`);
  }
}
