/** Public events: who subscribed to what, and delivery in order. */
import type { Domain } from './domain.ts';
import type { BlockJobStatus, BlockJobType, EventId, LifecycleEvent } from './flags.ts';

/** BLOCK_JOB (by source path, local files only) and BLOCK_JOB_2 (by target). */
export interface BlockJobEvent {
  readonly domain: Domain;
  /** BLOCK_JOB: the path of the active image, after a pivot the new one. BLOCK_JOB_2: the target, e.g. `vda`. */
  readonly disk: string;
  readonly type: BlockJobType;
  readonly status: BlockJobStatus;
}

/** LIFECYCLE. */
export interface LifecycleEventInfo {
  readonly domain: Domain;
  readonly event: LifecycleEvent;
  /** virDomainEvent<Event>DetailType. */
  readonly detail: number;
}

/** IO_ERROR and, with `reason`, IO_ERROR_REASON. */
export interface IoErrorEvent {
  readonly domain: Domain;
  readonly sourcePath: string;
  readonly deviceAlias: string;
  /** virDomainEventIOErrorAction: 0 none, 1 pause, 2 report. */
  readonly action: number;
  readonly reason: string;
}

/** BLOCK_THRESHOLD. */
export interface BlockThresholdEvent {
  readonly domain: Domain;
  /** `vda` or `vda[N]`. */
  readonly device: string;
  readonly path: string;
  /** What was armed, bytes. */
  readonly threshold: number;
  /** How far beyond it the write went, bytes. */
  readonly excess: number;
}

/** REBOOT. */
export interface RebootEvent {
  readonly domain: Domain;
}

/** DEVICE_ADDED and DEVICE_REMOVED. */
export interface DeviceEvent {
  readonly domain: Domain;
  readonly deviceAlias: string;
}

/** DISK_CHANGE: a source was not there when the domain started. */
export interface DiskChangeEvent {
  readonly domain: Domain;
  readonly oldSourcePath: string | null;
  readonly newSourcePath: string | null;
  readonly deviceAlias: string;
  /** virConnectDomainEventDiskChangeReason: 0 the drive is empty, 1 the disk was left out. */
  readonly reason: number;
}

/** VIR_DOMAIN_EVENT_ID_TUNABLE: limits were set. */
export interface TunableEvent {
  readonly domain: Domain;
  /** VIR_DOMAIN_TUNABLE_*, e.g. `blkdeviotune.disk`, `blkdeviotune.total_bytes_sec`. */
  readonly parameters: Readonly<Record<string, string | number | bigint>>;
}

/** What a callback gets, by event. */
export interface EventPayloads {
  [EventId.BLOCK_JOB]: BlockJobEvent;
  [EventId.BLOCK_JOB_2]: BlockJobEvent;
  [EventId.LIFECYCLE]: LifecycleEventInfo;
  [EventId.IO_ERROR]: IoErrorEvent;
  [EventId.IO_ERROR_REASON]: IoErrorEvent;
  [EventId.BLOCK_THRESHOLD]: BlockThresholdEvent;
  [EventId.REBOOT]: RebootEvent;
  [EventId.DEVICE_ADDED]: DeviceEvent;
  [EventId.DEVICE_REMOVED]: DeviceEvent;
  [EventId.DISK_CHANGE]: DiskChangeEvent;
  [EventId.TUNABLE]: TunableEvent;
}

/** Events that can be subscribed to. */
export type SubscribableEvent = keyof EventPayloads;

interface Subscription {
  readonly event: SubscribableEvent;
  /** undefined: every domain of the connection. */
  readonly uuid: string | undefined;
  readonly callback: (payload: never) => void;
}

/** The subscriptions of one connection. */
export class EventHub {
  readonly #subscriptions = new Map<number, Subscription>();
  #lastId = -1;

  /** Subscribes; returns the callback id. */
  register<E extends SubscribableEvent>(
    event: E,
    uuid: string | undefined,
    callback: (payload: EventPayloads[E]) => void,
  ): number {
    this.#lastId += 1;
    this.#subscriptions.set(this.#lastId, { event, uuid, callback });
    return this.#lastId;
  }

  /** Ends a subscription; false if there is none of that id. */
  deregister(callbackId: number): boolean {
    return this.#subscriptions.delete(callbackId);
  }

  /** Calls every subscriber, in the order of subscription, before it returns. */
  emit<E extends SubscribableEvent>(event: E, payload: EventPayloads[E]): void {
    for (const subscription of [...this.#subscriptions.values()]) {
      if (subscription.event !== event) continue;
      if (subscription.uuid !== undefined && subscription.uuid !== payload.domain.uuid) continue;
      deliver(subscription.callback as (payload: EventPayloads[E]) => void, payload);
    }
  }

  /** Drops every subscription. */
  clear(): void {
    this.#subscriptions.clear();
  }
}

/** A subscriber's error is its own: it surfaces as an uncaught one and disturbs neither the job nor other subscribers. */
function deliver<T>(callback: (payload: T) => void, payload: T): void {
  try {
    callback(payload);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
