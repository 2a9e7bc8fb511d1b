/**
 * Throttling: groups of disks that share limits on bytes and requests per second. Each limit is a bucket that leaks at its
 * rate; a request waits until what is above the brim has leaked, then pours itself in.
 */
import type { Data } from './data.ts';
import { refuse } from './errors.ts';

/** What limits count: all requests, or those of one direction. */
export const LIMITS = [
  'bps-total',
  'bps-read',
  'bps-write',
  'iops-total',
  'iops-read',
  'iops-write',
] as const;
/** One of {@link LIMITS}. */
export type LimitName = (typeof LIMITS)[number];

/** One limit. */
export interface Limit {
  /** Per second, in the long run; 0: no limit. */
  readonly rate: number;
  /** Per second for as long as a burst may last; 0: a tenth of a second's worth. */
  readonly burst: number;
  readonly burstSeconds: number;
}

/** Limits of a group. */
export interface ThrottleLimits {
  readonly of: Readonly<Record<LimitName, Limit>>;
  /** A request counts once for each of so many bytes; 0: once. */
  readonly requestBytes: number;
}

const FREE: Limit = { rate: 0, burst: 0, burstSeconds: 1 };

/** No limits. */
export const UNLIMITED: ThrottleLimits = {
  of: Object.fromEntries(LIMITS.map((name) => [name, FREE])) as Record<LimitName, Limit>,
  requestBytes: 0,
};

/** What older commands and options call a limit. */
export const SHORT_NAMES: Readonly<Record<LimitName, string>> = {
  'bps-total': 'bps',
  'bps-read': 'bps_rd',
  'bps-write': 'bps_wr',
  'iops-total': 'iops',
  'iops-read': 'iops_rd',
  'iops-write': 'iops_wr',
};

/** The limits that -drive gives a disk: `bps=`, `bps_max=`, or `throttling.bps-total=`, `throttling.bps-total-max=`. */
export function driveLimits(options: Data): ThrottleLimits {
  const given = options.throttling;
  const long = typeof given === 'object' && given !== null && !Array.isArray(given) ? (given as Data) : {};
  const number = (name: string, short: string, otherwise = 0): number =>
    Number(long[name] ?? options[short] ?? otherwise);
  const of = LIMITS.map((name): [LimitName, Limit] => {
    const short = SHORT_NAMES[name];
    const rate = number(name, short);
    const burst = number(`${name}-max`, `${short}_max`);
    return [name, { rate, burst, burstSeconds: number(`${name}-max-length`, `${short}_max_length`, 1) }];
  });
  return {
    of: Object.fromEntries(of) as Record<LimitName, Limit>,
    requestBytes: number('iops-size', 'iops_size'),
  };
}

/** The group that -drive puts a disk into; undefined: one of its own. */
export function driveGroup({ throttling, group }: Data): string | undefined {
  const long = typeof throttling === 'object' && throttling !== null ? (throttling as Data).group : undefined;
  const name = long ?? group;
  return typeof name === 'string' ? name : undefined;
}

/** Whether anything is limited. */
export const isLimited = ({ of }: ThrottleLimits): boolean => LIMITS.some((name) => of[name].rate > 0);

const MAX_VALUE = 1_000_000_000_000_000;

/** Refuses limits that make no sense together, in QEMU's order. */
export function checkLimits({ of, requestBytes }: ThrottleLimits): void {
  for (const kind of ['bps', 'iops'] as const) {
    for (const what of ['rate', 'burst'] as const) {
      const total = of[`${kind}-total`][what];
      if (total !== 0 && (of[`${kind}-read`][what] !== 0 || of[`${kind}-write`][what] !== 0)) {
        refuse('bps/iops/max total values and read/write values cannot be used at the same time');
      }
    }
  }
  const countsRequests = (['iops-total', 'iops-read', 'iops-write'] as const).some(
    (name) => of[name].rate !== 0,
  );
  if (requestBytes !== 0 && !countsRequests) refuse('iops size requires an iops value to be set');
  for (const name of LIMITS) checkLimit(of[name]);
}

function checkLimit({ rate, burst, burstSeconds }: Limit): void {
  const isWithin = (value: number) => value >= 0 && value <= MAX_VALUE;
  if (!isWithin(rate) || !isWithin(burst)) refuse(`bps/iops/max values must be within [0, ${MAX_VALUE}]`);
  if (burstSeconds === 0) refuse('the burst length cannot be 0');
  if (burstSeconds > 1 && burst === 0) refuse('burst length set without burst rate');
  if (burst > 0 && burstSeconds > MAX_VALUE / burst) refuse('burst length too high for this burst rate');
  if (burst > 0 && rate === 0) refuse('bps_max/iops_max require corresponding bps/iops values');
  if (burst > 0 && burst < rate) refuse('bps_max/iops_max cannot be lower than bps/iops');
}

/** What passes a group. */
export interface ThrottledRequest {
  readonly op: 'read' | 'write' | 'zero' | 'discard' | 'flush';
  readonly bytes: number;
}

const NS_PER_SECOND = 1e9;
// Without a burst of their own, limits let a tenth of a second's worth through at once.
const BRIM_SECONDS = 0.1;

// Jobs ask for no more at once.
const PIECE_BYTES = 2 ** 20;

/** As how many requests one counts. */
const requestsOf = (bytes: number, requestBytes: number): number =>
  requestBytes === 0 ? 1 : Math.max(1, bytes / requestBytes);

/** What is in the buckets of one limit. */
class Bucket {
  level = 0;
  burstLevel = 0;

  /** Lets time pass. */
  leak({ rate, burst }: Limit, seconds: number): void {
    this.level = Math.max(0, this.level - rate * seconds);
    this.burstLevel = Math.max(0, this.burstLevel - burst * seconds);
  }

  /** How long the next request has to wait, in seconds. */
  waitSeconds({ rate, burst, burstSeconds }: Limit): number {
    if (rate === 0) return 0;
    const brim = burst === 0 ? rate * BRIM_SECONDS : burst * burstSeconds;
    const wait = Math.max(0, this.level - brim) / rate;
    if (burstSeconds <= 1 || burst === 0) return wait;
    return Math.max(wait, Math.max(0, this.burstLevel - burst * BRIM_SECONDS) / burst);
  }

  pour(units: number): void {
    this.level += units;
    this.burstLevel += units;
  }
}

/** Disks that share limits. */
export class ThrottleGroup {
  readonly name: string;
  /** Made by object-add: it stays when its last member has gone. */
  readonly isObject: boolean;
  /** Disks and nodes in it. */
  members = 0;
  #limits = UNLIMITED;
  readonly #buckets = new Map<LimitName, Bucket>();
  #leakedNs = 0;

  constructor(name: string, isObject: boolean) {
    this.name = name;
    this.isObject = isObject;
  }

  get limits(): ThrottleLimits {
    return this.#limits;
  }

  /** Refuses limits that make no sense. New ones start with empty buckets. */
  setLimits(limits: ThrottleLimits): void {
    checkLimits(limits);
    this.#limits = limits;
    this.#buckets.clear();
  }

  /** How long a request that comes now has to wait, in nanoseconds; from now on it counts. */
  delayNs(nowNs: number, { op, bytes }: ThrottledRequest): number {
    // What moves no data passes.
    if (op === 'flush' || !isLimited(this.#limits)) return 0;
    const seconds = (nowNs - this.#leakedNs) / NS_PER_SECOND;
    this.#leakedNs = nowNs;
    const { of, requestBytes } = this.#limits;
    const direction = op === 'read' ? 'read' : 'write';
    let waitSeconds = 0;
    for (const name of LIMITS) this.#bucket(name).leak(of[name], seconds);
    // What is large goes in pieces; it is over when the last one has passed.
    const pieces = Math.max(1, Math.ceil(bytes / PIECE_BYTES));
    const lastBytes = bytes - (pieces - 1) * PIECE_BYTES;
    for (const kind of ['bps', 'iops'] as const) {
      const unitsOf = (part: number) => (kind === 'bps' ? part : requestsOf(part, requestBytes));
      for (const name of [`${kind}-total`, `${kind}-${direction}`] as const) {
        const bucket = this.#bucket(name);
        bucket.pour((pieces - 1) * unitsOf(PIECE_BYTES));
        waitSeconds = Math.max(waitSeconds, bucket.waitSeconds(of[name]));
        bucket.pour(unitsOf(lastBytes));
      }
    }
    return Math.ceil(waitSeconds * NS_PER_SECOND);
  }

  /** What writes of a size get through in the long run, in bytes per second. */
  writeBytesPerSecond(blockBytes: number): number {
    const { of, requestBytes } = this.#limits;
    const requests = requestsOf(blockBytes, requestBytes);
    const rates = [
      of['bps-total'].rate,
      of['bps-write'].rate,
      (of['iops-total'].rate * blockBytes) / requests,
      (of['iops-write'].rate * blockBytes) / requests,
    ];
    return Math.min(...rates.filter((rate) => rate > 0), Number.POSITIVE_INFINITY);
  }

  #bucket(name: LimitName): Bucket {
    const known = this.#buckets.get(name);
    if (known) return known;
    const fresh = new Bucket();
    this.#buckets.set(name, fresh);
    return fresh;
  }
}

/** All groups of a machine, by name. */
export class ThrottleGroups {
  readonly #groups = new Map<string, ThrottleGroup>();

  /** Whether there are any. */
  get any(): boolean {
    return this.#groups.size > 0;
  }

  find(name: string): ThrottleGroup | undefined {
    return this.#groups.get(name);
  }

  /** A group of that name; a new one goes with its last member. */
  join(name: string): ThrottleGroup {
    const group = this.#groups.get(name) ?? this.#add(new ThrottleGroup(name, false));
    group.members++;
    return group;
  }

  /** Leaves a group. */
  leave(group: ThrottleGroup | undefined): void {
    if (!group) return;
    group.members--;
    if (group.members === 0 && !group.isObject) this.#groups.delete(group.name);
  }

  /** A group for object-add; refuses a used name, then bad limits. */
  addObject(name: string, limits: ThrottleLimits): ThrottleGroup {
    if (this.#groups.has(name)) refuse('A group with this name already exists');
    const group = new ThrottleGroup(name, true);
    group.setLimits(limits);
    return this.#add(group);
  }

  /** Takes away what object-add made; its members have gone. */
  remove(group: ThrottleGroup): void {
    this.#groups.delete(group.name);
  }

  #add(group: ThrottleGroup): ThrottleGroup {
    this.#groups.set(group.name, group);
    return group;
  }
}
