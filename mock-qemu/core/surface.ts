/**
 * The whole surface of a simulated QEMU: inputs in, time forward, outputs out. It is synchronous and pure: the same
 * seed and the same calls give the same outputs, byte for byte.
 */

/** What the outside does to a simulated QEMU. */
export type Input =
  | { readonly type: 'connect'; readonly connection: number }
  | { readonly type: 'data'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly type: 'disconnect'; readonly connection: number }
  | { readonly type: 'signal'; readonly signal: 'SIGTERM' | 'SIGKILL' };

/** Signals that end a process: from outside, by a failed assertion, by a bad pointer. */
export type DeathSignal = 'SIGKILL' | 'SIGABRT' | 'SIGSEGV' | 'SIGFPE';

/** What a simulated QEMU does to the outside. After `exit` nothing follows. */
export type Output =
  | { readonly type: 'data'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly type: 'close'; readonly connection: number }
  | { readonly type: 'print'; readonly stream: 'stdout' | 'stderr'; readonly text: string }
  | { readonly type: 'exit'; readonly code: number | null; readonly signal: DeathSignal | null };

/** One simulated QEMU process. Times are virtual nanoseconds since its world began. */
export interface SimulatedQemu {
  /** Takes one input; its effects that need no time have happened on return. */
  step(input: Input): void;
  /** Moves time forward by `ns`, running everything that falls due on the way, in order. */
  advance(ns: number): void;
  /** Hands over what has been put out since the last call, in order. */
  takeOutputs(): Output[];
  /** When the next thing falls due; undefined if nothing will happen without an input. */
  nextTimerAt(): number | undefined;
}
