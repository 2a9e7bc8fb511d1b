/** Events as a generation emits them: which ones it has, and with which members. */
import type { JsonObject } from '../../src/qmp/messages.ts';
import type { Clock } from '../core/clock.ts';
import { ERRNO } from '../core/errno.ts';
import type { Behaviour, Profile } from '../profiles/profile.ts';

type Switch = { [K in keyof Behaviour]: Behaviour[K] extends boolean ? K : never }[keyof Behaviour];

/** Events that a switch turns off. */
const NEEDS: Readonly<Record<string, Switch>> = {
  JOB_STATUS_CHANGE: 'jobStatusEvents',
  BLOCK_JOB_READY: 'readyEvent',
  BLOCK_JOB_CANCELLED: 'cancelledEvent',
  BLOCK_JOB_ERROR: 'errorPolicies',
};

type Shape = (data: JsonObject, behaviour: Behaviour) => JsonObject | undefined;

/** The members of an object that are there, of those that are named. */
const pick = (data: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(data).filter(([name]) => names.includes(name)));

/** Why a machine goes or starts anew: nobody said before 2.10, and how only since 4.0. */
const SHUTDOWN_MEMBERS: Readonly<Record<Behaviour['shutdownData'], readonly string[]>> = {
  none: [],
  guest: ['guest'],
  'guest-and-reason': ['guest', 'reason'],
};

const shutdown: Shape = (data, { shutdownData }) =>
  shutdownData === 'none' ? undefined : pick(data, SHUTDOWN_MEMBERS[shutdownData]);

/** A vendor's words for why a request failed. */
const SHORT_REASON: Readonly<Record<string, string>> = { EIO: 'eio', EPERM: 'eperm', ENOSPC: 'enospc' };

function ioErrorDetail(data: JsonObject, detail: Behaviour['ioErrorDetail']): JsonObject {
  if (detail === 'none') return {};
  if (detail === 'reason') return pick(data, ['nospace', 'reason']);
  const message = String(data.reason);
  const [code, errno] = Object.entries(ERRNO).find(([, { text }]) => text === message) ?? [];
  return {
    [detail.reason]: SHORT_REASON[code ?? ''] ?? 'eother',
    [detail.debugInfo]: { errno: errno?.number ?? 0, message },
  };
}

const ioError: Shape = (data, behaviour) => ({
  ...pick(data, ['device', 'operation', 'action']),
  ...pick(data, behaviour.ioErrorNodeName ? ['node-name'] : []),
  ...pick(data, behaviour.ioErrorQomPath ? ['qom-path'] : []),
  ...ioErrorDetail(data, behaviour.ioErrorDetail),
});

const SHAPES: Readonly<Record<string, Shape>> = {
  SHUTDOWN: shutdown,
  RESET: shutdown,
  BLOCK_IO_ERROR: ioError,
  DEVICE_TRAY_MOVED: (data, { nodeNames }) => (nodeNames ? data : pick(data, ['device', 'tray-open'])),
};

/** Whether a generation has this event at all. */
export function hasEvent({ introspection, behaviour }: Profile, event: string): boolean {
  const needed = NEEDS[event];
  return (
    (introspection.events?.includes(event) ?? true) && (needed === undefined || behaviour[needed] === true)
  );
}

/** What an event carries in this generation; undefined: no `data`. */
export function eventData(
  { behaviour }: Profile,
  event: string,
  data: JsonObject | undefined,
): JsonObject | undefined {
  const shape = SHAPES[event];
  return shape && data ? shape(data, behaviour) : data;
}

const ONE_SECOND_NS = 1_000_000_000;

/** What an {@link EventGate} needs. */
export interface EventGateOptions {
  readonly profile: Profile;
  readonly clock: Clock;
  readonly send: (event: string, data?: JsonObject) => void;
}

/** The last station of an event on its way to the monitors. */
export class EventGate {
  readonly #options: EventGateOptions;
  /** By what is throttled together: the event that waits for the end of its second, if there is one. */
  readonly #throttled = new Map<string, { latest: JsonObject | undefined }>();

  constructor(options: EventGateOptions) {
    this.#options = options;
  }

  emit(event: string, data?: JsonObject): void {
    const { profile, send } = this.#options;
    if (!hasEvent(profile, event)) return;
    const shaped = eventData(profile, event, data);
    if (shaped && event === 'BLOCK_IO_ERROR' && profile.behaviour.ioErrorThrottled) {
      this.#throttle(event, String(shaped['qom-path']), shaped);
    } else {
      send(event, shaped);
    }
  }

  /** The first one passes, of those that follow within a second only the last, at its end. */
  #throttle(event: string, key: string, data: JsonObject): void {
    const waiting = this.#throttled.get(key);
    if (waiting) waiting.latest = data;
    else this.#pass(event, key, data);
  }

  #pass(event: string, key: string, data: JsonObject): void {
    this.#options.send(event, data);
    const waiting: { latest: JsonObject | undefined } = { latest: undefined };
    this.#throttled.set(key, waiting);
    this.#options.clock.after(ONE_SECOND_NS, () => {
      this.#throttled.delete(key);
      if (waiting.latest) this.#pass(event, key, waiting.latest);
    });
  }
}
