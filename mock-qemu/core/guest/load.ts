/**
 * A guest that keeps writing. Its writes are not simulated one by one: what it wrote since somebody last looked is
 * worked out when somebody looks again, in a few extents, however long ago that was.
 */
import type { BlockBackend } from '../graph/backend.ts';
import { flushNode, writeTo } from '../graph/data.ts';
import type { BlockNode } from '../graph/node.ts';
import { groupsBelow, type Vm } from '../vm.ts';
import { reportGuestError } from './requests.ts';

/** What a guest does to one disk. */
export interface LoadOptions {
  /** While it writes, not on average over its rests. */
  readonly bytesPerSecond: number;
  /** The part of the disk that it writes to. */
  readonly startBytes: number;
  readonly hotBytes: number;
  /** `sequential` goes round and round through the hot set. */
  readonly pattern: 'sequential' | 'random';
  /** Size of one write; what it dirties is whole chunks. */
  readonly blockBytes: number;
  /** It writes for `burstNs`, then rests for `restNs`; 0: it never rests. */
  readonly burstNs: number;
  readonly restNs: number;
  /** 0: it never flushes. */
  readonly flushIntervalNs: number;
}

// What small writes dirty, and what a copy has to move for them.
const CHUNK_BYTES = 65536;
// A scatter of this many stretches stands for random writes between two looks.
const SCATTER = 8;
// How often somebody looks who has to notice an error or a threshold in time.
const TICK_NS = 100_000_000;
const NS_PER_SECOND = 1e9;

/** How much of every burst and rest is burst, up to a moment. */
function burstTimeNs(ns: number, { burstNs, restNs }: LoadOptions): number {
  if (restNs === 0) return ns;
  const period = burstNs + restNs;
  return Math.floor(ns / period) * burstNs + Math.min(burstNs, ns % period);
}

/** One load. */
export class GuestLoad {
  readonly backend: BlockBackend;
  readonly options: LoadOptions;
  readonly #vm: Vm;
  readonly #startedNs: number;
  #lastNs: number;
  /** Where the next sequential write goes, within the hot set. */
  #cursor = 0;
  #rounds = 0;
  #unwrittenBytes = 0;
  #ticking = false;
  #stopped = false;
  writtenBytes = 0;
  flushes = 0;

  constructor(vm: Vm, backend: BlockBackend, options: LoadOptions) {
    this.#vm = vm;
    this.backend = backend;
    this.options = options;
    this.#startedNs = vm.clock.now();
    this.#lastNs = this.#startedNs;
  }

  /** Where a guest that goes round writes next, within its hot set. */
  get cursorBytes(): number {
    return this.#cursor;
  }

  /** How long one write takes, the way to a mirror's target included where the guest has to wait for that. */
  get writeLatencyNs(): number {
    const { blockBytes, startBytes } = this.options;
    let latencyNs = this.#vm.costNs({ op: 'write', bytes: blockBytes });
    for (let at = this.backend.node; at; at = at.filtered?.child) {
      latencyNs += at.hooks?.writeCostNs?.(startBytes, startBytes + blockBytes) ?? 0;
    }
    return latencyNs;
  }

  /** What it really writes: a guest waits for its disk. */
  get bytesPerSecond(): number {
    const { bytesPerSecond, blockBytes } = this.options;
    const byDevice = (blockBytes / this.writeLatencyNs) * NS_PER_SECOND;
    const rate = Math.min(bytesPerSecond, byDevice);
    return this.#vm.throttles.any ? Math.min(rate, ...this.#limits) : rate;
  }

  /** What throttling leaves it, in the long run. */
  get #limits(): number[] {
    const { node, throttle } = this.backend;
    const groups = [...(throttle ? [throttle] : []), ...(node ? groupsBelow(node) : [])];
    return groups.map((group) => group.writeBytesPerSecond(this.options.blockBytes));
  }

  /** How fast it makes a copy stale, on average over its rests. */
  get dirtyBytesPerSecond(): number {
    const { burstNs, restNs } = this.options;
    const share = restNs === 0 ? 1 : burstNs / (burstNs + restNs);
    return this.bytesPerSecond * share * this.#amplification;
  }

  get #amplification(): number {
    const { pattern, blockBytes } = this.options;
    return pattern === 'random' ? Math.max(1, CHUNK_BYTES / blockBytes) : 1;
  }

  /** Does what the guest has done since the last time. */
  catchUp(): void {
    const nowNs = this.#vm.clock.now();
    const sinceNs = this.#lastNs;
    this.#lastNs = nowNs;
    const { node } = this.backend;
    if (this.#stopped || nowNs <= sinceNs || !node || !this.#vm.running || this.#vm.isHeldBack(node)) return;
    const { flushIntervalNs } = this.options;
    const flushNs =
      flushIntervalNs === 0
        ? 0
        : this.#startedNs + Math.floor((nowNs - this.#startedNs) / flushIntervalNs) * flushIntervalNs;
    if (flushNs > sinceNs) {
      this.#write(node, sinceNs, flushNs);
      flushNode(node);
      this.flushes++;
      this.backend.counters.of.flush.operations++;
      this.#write(node, flushNs, nowNs);
    } else this.#write(node, sinceNs, nowNs);
  }

  /** Makes time pass in small steps where somebody has to be told of an error in time. */
  watch(): void {
    const { node } = this.backend;
    const needed = node !== undefined && (this.#vm.mayFail(node, node) || hasThreshold(node));
    if (!needed || this.#ticking || this.#stopped || !this.#vm.running) return;
    this.#ticking = true;
    this.#vm.clock.after(TICK_NS, () => {
      this.#ticking = false;
      this.#vm.catchUp();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #write(node: BlockNode, fromNs: number, toNs: number): void {
    const at = (ns: number) => burstTimeNs(ns - this.#startedNs, this.options);
    const exact = ((at(toNs) - at(fromNs)) / NS_PER_SECOND) * this.bytesPerSecond + this.#unwrittenBytes;
    const { blockBytes, pattern, hotBytes } = this.options;
    const bytes = Math.floor(exact / blockBytes) * blockBytes;
    this.#unwrittenBytes = exact - bytes;
    if (bytes === 0) return;
    if (!this.#mayWrite(node, Math.min(bytes, hotBytes))) return;
    this.writtenBytes += bytes;
    const { write } = this.backend.counters.of;
    write.bytes += bytes;
    write.operations += bytes / blockBytes;
    write.totalNs += (bytes / blockBytes) * this.writeLatencyNs;
    if (pattern === 'sequential') this.#writeOn(node, bytes);
    else this.#scatter(node, bytes * this.#amplification);
  }

  /** Whether the writes succeed; what the device does about an error has happened on return. */
  #mayWrite(node: BlockNode, bytes: number): boolean {
    if (!this.#vm.mayFail(node, node)) return true;
    const { startBytes, hotBytes } = this.options;
    const offset = startBytes + Math.min(this.#cursor, hotBytes - bytes);
    const error = this.#vm.ioError({ at: 'guest.write', op: 'write', node, offset, bytes });
    if (error === undefined) return true;
    this.backend.counters.of.write.failed++;
    return reportGuestError(this.#vm, this.backend, 'write', error) === 'ignore';
  }

  #writeOn(node: BlockNode, bytes: number): void {
    const { hotBytes } = this.options;
    const covered = Math.min(bytes, hotBytes);
    const end = (this.#cursor + bytes) % hotBytes;
    const start = (((end - covered) % hotBytes) + hotBytes) % hotBytes;
    this.#put(node, start, covered);
    this.#cursor = end;
  }

  /** Random writes hit some places twice: so many bytes cover so much of the hot set. */
  #scatter(node: BlockNode, bytes: number): void {
    const { hotBytes } = this.options;
    const chunks = Math.ceil(hotBytes / CHUNK_BYTES);
    const covered = Math.ceil(chunks * (1 - Math.exp(-bytes / hotBytes)));
    const stretches = Math.min(SCATTER, covered);
    for (let each = 0; each < stretches; each++) {
      const start = this.#vm.random.below(chunks) * CHUNK_BYTES;
      const length =
        Math.floor((covered * (each + 1)) / stretches) - Math.floor((covered * each) / stretches);
      this.#put(node, start, Math.min(length * CHUNK_BYTES, hotBytes));
    }
  }

  /** Writes a stretch that may go over the end of the hot set. */
  #put(node: BlockNode, start: number, bytes: number): void {
    const { startBytes, hotBytes } = this.options;
    // Each round leaves other bytes, so that a stale copy shows.
    const tag = 1 + (this.#rounds++ % 255);
    const end = start + bytes;
    writeTo(node, startBytes + start, startBytes + Math.min(end, hotBytes), tag);
    writeTo(node, startBytes, startBytes + Math.max(0, end - hotBytes), tag);
  }
}

function hasThreshold(node: BlockNode): boolean {
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child) {
    if (at.writeThresholdBytes > 0) return true;
  }
  return false;
}
