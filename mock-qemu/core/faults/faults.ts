/** The faults of one machine: which of them a point meets now. */
import type { Fault } from './plan.ts';
import type { FaultPoint } from './points.ts';

/** What is known of the thing that passes a point. */
export interface Passing {
  readonly offset?: number;
  readonly bytes?: number;
  /** Names of the nodes that a request reaches. */
  readonly nodes?: readonly string[];
  readonly command?: string;
  readonly event?: string;
}

/** A fault in force, with how often its point was passed and how often it happened. */
export interface FaultState {
  readonly fault: Fault;
  seen: number;
  happened: number;
}

const NONE: readonly Fault[] = [];

/** Faults in force. */
export class Faults {
  #rules: FaultState[] = [];
  readonly #nowNs: () => number;

  /** @param nowNs nanoseconds since the process started. */
  constructor(nowNs: () => number) {
    this.#nowNs = nowNs;
  }

  add(fault: Fault): void {
    this.#rules.push({ fault, seen: 0, happened: 0 });
  }

  /** Takes every fault back: the machine is healthy again. */
  clear(): void {
    this.#rules = [];
  }

  /** All faults in force, in the order in which they were added. */
  list(): readonly FaultState[] {
    return this.#rules;
  }

  /** Whether anything at all can happen: hot paths ask this first. */
  get any(): boolean {
    return this.#rules.length > 0;
  }

  has(fault: Fault): boolean {
    return this.#rules.some((rule) => rule.fault === fault);
  }

  /**
   * The faults that a point meets, counted as passed. Delays are asked for when something begins, everything else
   * when it ends.
   */
  meet(at: FaultPoint, passing: Passing = {}, when: 'delay' | 'rest' = 'rest'): readonly Fault[] {
    if (this.#rules.length === 0) return NONE;
    const met: Fault[] = [];
    for (const rule of this.#rules) {
      const { fault } = rule;
      if (fault.at !== at || (fault.do === 'delay') !== (when === 'delay')) continue;
      if (!this.#concerns(fault, passing)) continue;
      const nth = rule.seen++ - (fault.after ?? 0);
      if (nth < 0 || nth >= (fault.times ?? Number.POSITIVE_INFINITY)) continue;
      rule.happened++;
      met.push(fault);
    }
    return met;
  }

  #concerns(fault: Fault, { offset = 0, bytes = 0, nodes, command, event }: Passing): boolean {
    const nowNs = this.#nowNs();
    if (fault.at !== 'at-time' && nowNs < (fault.atNs ?? 0)) return false;
    if (fault.untilNs !== undefined && nowNs >= fault.untilNs) return false;
    if (fault.offset !== undefined && (fault.offset < offset || fault.offset >= offset + bytes)) return false;
    if (fault.node !== undefined && !nodes?.includes(fault.node)) return false;
    if (fault.command !== undefined && fault.command !== command) return false;
    return fault.event === undefined || fault.event === event;
  }
}
