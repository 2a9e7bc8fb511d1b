/**
 * A mirror behind a guest that keeps writing, while nothing will come of it by itself: what it copies is worked out when
 * somebody looks, in a few extents, instead of step by step.
 */
import type { Errno } from '../errno.ts';
import type { DirtyBitmap } from '../graph/bitmap.ts';
import { copyRange } from '../graph/data.ts';
import type { GuestLoad, LoadOptions } from '../guest/load.ts';
import type { Effect } from './effects.ts';
import type { Job } from './job.ts';
import type { MirrorOptions } from './mirror-options.ts';
import { SLICE_NS } from './ratelimit.ts';

/** The chase of one mirror. */
export class GuestChase {
  readonly #options: MirrorOptions;
  readonly #bitmap: DirtyBitmap;
  #nextOffset = 0;
  /** While the job follows its guest: until when that has been worked out. */
  #followedNs: number | undefined;
  /** Since when it follows without a break. */
  #beganNs = 0;

  constructor(options: MirrorOptions, bitmap: DirtyBitmap) {
    this.#options = options;
    this.#bitmap = bitmap;
  }

  /** How fast this job can copy, by the devices and, until it is READY, by its own limit. */
  #bytesPerSecond(job: Job): number {
    const { bufSizeBytes: bytes } = this.#options;
    const ns = job.host.costNs({ op: 'read', bytes }) + job.host.costNs({ op: 'write', bytes });
    const speed = Number(job.speedBytesPerSecond);
    return Math.min((bytes / ns) * 1e9, speed === 0 || job.ready ? Number.POSITIVE_INFINITY : speed);
  }

  /**
   * Whether nothing will come of this job by itself: the guest dirties its disk faster than it can be copied, or it is
   * READY and keeps up with the guest.
   */
  isSteady(job: Job, ends: boolean): boolean {
    const { source, target } = this.#options;
    const load = job.host.loadOn(source);
    if (!load || job.host.mayFail(source, target)) return false;
    if (load.dirtyBytesPerSecond >= this.#bytesPerSecond(job)) return this.#bitmap.countBytes > 0;
    return job.ready && !ends;
  }

  /** Runs after the guest for as long as nothing changes: nothing of that needs a timer. */
  *follow(job: Job): Generator<Effect, void, Errno | undefined> {
    this.#beganNs = job.host.clock.now();
    this.#followedNs = this.#beganNs;
    this.#bitmap.onMark = undefined;
    yield { type: 'idle', tickNs: SLICE_NS };
    job.host.catchUp();
    this.#followedNs = undefined;
    this.#bitmap.onMark = () => job.nudge();
  }

  /** What a copy that follows its guest has done since somebody last looked; the guest's part has been done. */
  refresh(job: Job): void {
    if (this.#followedNs === undefined) return;
    const nowNs = job.host.clock.now();
    const load = job.host.loadOn(this.#options.source);
    const dirtied = load?.dirtyBytesPerSecond ?? 0;
    const rate = Math.min(this.#bytesPerSecond(job), dirtied);
    const copied = job.pauseCount > 0 ? 0 : Math.floor(((nowNs - this.#followedNs) / 1e9) * rate);
    // Too little to tell goes on counting; a job that is paused copies nothing.
    if (job.pauseCount === 0 && copied < this.#options.granularityBytes) return;
    this.#followedNs = nowNs;
    if (copied === 0 || !load) return;
    const gain = dirtied - rate;
    if (gain > 0 && load.options.pattern === 'sequential' && this.#isOnlyHot(load.options)) {
      const seconds = (nowNs - this.#beganNs) / 1e9;
      this.#goRound(load, { rate, gain, seconds: seconds % (load.options.hotBytes / gain) });
    } else {
      // In the long run a guest that is faster leaves this much undone, and never nothing.
      const left =
        gain > 0 || !job.ready
          ? load.options.hotBytes * (1 - rate / dirtied) + this.#options.granularityBytes
          : 0;
      this.#clean(left > 0 ? Math.min(copied, this.#bitmap.countBytes - left) : this.#bitmap.countBytes);
    }
    job.offset += copied;
    job.len = job.offset + this.#bitmap.countBytes;
  }

  /** Whether all that is dirty is where the guest writes. */
  #isOnlyHot({ startBytes, hotBytes }: LoadOptions): boolean {
    const { ranges } = this.#bitmap;
    const first = ranges.nextFrom(0);
    return (first?.start ?? startBytes) >= startBytes && !ranges.nextFrom(startBytes + hotBytes);
  }

  /**
   * A guest that goes round has overtaken the copy `seconds` ago, and so made all of it stale. What was copied since stays
   * until the guest comes round to it, and is then eaten up from behind until the next time.
   */
  #goRound(
    { options: { startBytes, hotBytes }, cursorBytes }: GuestLoad,
    { rate, gain, seconds }: { readonly rate: number; readonly gain: number; readonly seconds: number },
  ): void {
    const { source, target, granularityBytes } = this.#options;
    const whole = (bytes: number) => Math.floor(bytes / granularityBytes) * granularityBytes;
    const fresh = whole(Math.min(rate * seconds, hotBytes - gain * seconds) - granularityBytes);
    const behind = whole(gain * seconds);
    this.#bitmap.force(startBytes, startBytes + hotBytes);
    const end = (((whole(cursorBytes) - behind) % hotBytes) + hotBytes) % hotBytes;
    for (const [from, to] of [
      [Math.max(0, end - fresh), end],
      [hotBytes - Math.max(0, fresh - end), hotBytes],
    ] as const) {
      if (from >= to) continue;
      this.#bitmap.reset(startBytes + from, startBytes + to);
      copyRange(source, target, startBytes + from, Math.min(startBytes + to, source.lengthBytes));
    }
    this.#nextOffset = startBytes + end;
  }

  /** Copies so much of what is dirty. */
  #clean(bytes: number): void {
    const { source, target, granularityBytes } = this.#options;
    for (let left = Math.floor(bytes / granularityBytes) * granularityBytes; left > 0; ) {
      const dirty = this.#bitmap.ranges.nextFrom(this.#nextOffset) ?? this.#bitmap.ranges.nextFrom(0);
      if (!dirty) return;
      const start = dirty.end > this.#nextOffset ? Math.max(dirty.start, this.#nextOffset) : dirty.start;
      const end = Math.min(dirty.end, start + left);
      this.#bitmap.reset(start, end);
      copyRange(source, target, start, Math.min(end, source.lengthBytes));
      this.#nextOffset = end;
      left -= end - start;
    }
  }
}
