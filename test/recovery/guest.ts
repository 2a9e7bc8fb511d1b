/** A guest that writes and flushes for as long as its machine lives, and knows what it was promised. */
import { QmpClient } from '../../drivers/qemu/qmp-client.ts';
import { isQmpObject, type QmpObject } from '../../drivers/qemu/qmp-json.ts';
import type { Site } from './life.ts';

export const SLOT_BYTES = 4096;
const POLL_MS = 1;
/** Between two writes: a guest that never rests holds a pivot up. */
const PACE_MS = 4;

/** One disk's guest: slot n holds its byte once its flush has been acknowledged. */
export class WritingGuest {
  readonly #site: Site;
  readonly #alias: string;
  #acknowledged = 0;
  #stopped = false;
  readonly #limit: number;

  constructor(site: Site, alias: string, limit = 250) {
    this.#site = site;
    this.#alias = alias;
    this.#limit = limit;
  }

  /** How many slots were flushed. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Until it is stopped, or its machine is. */
  async run(): Promise<void> {
    const { qemu, world } = this.#site;
    let client: QmpClient;
    try {
      client = await QmpClient.connect(async () => qemu.connect(), { timers: world.timers });
    } catch {
      return;
    }
    const done = async (counter: string, count: number): Promise<boolean> => {
      for (;;) {
        if (this.#stopped || qemu.hasExited() || client.state !== 'running') return false;
        const stats = (await client.execute('query-blockstats').catch(() => undefined)) as
          | QmpObject[]
          | undefined;
        const mine = stats?.find(({ qdev, device }) => String(qdev ?? device).includes(this.#alias))?.stats;
        if (isQmpObject(mine) && Number(mine[counter]) >= count) return true;
        await new Promise<void>((resolve) => void world.timers.after(POLL_MS, resolve));
      }
    };
    const disk = this.#alias;
    for (let slot = 0; slot < this.#limit; slot++) {
      if (this.#stopped || qemu.hasExited()) break;
      const offset = slot * SLOT_BYTES;
      qemu.control({ control: 'guest-io', disk, op: 'write', offset, bytes: SLOT_BYTES, byte: slot + 1 });
      if (!(await done('wr_operations', slot + 1))) break;
      if (qemu.hasExited()) break;
      qemu.control({ control: 'guest-io', disk, op: 'flush' });
      if (!(await done('flush_operations', slot + 1))) break;
      this.#acknowledged = slot + 1;
      await new Promise<void>((resolve) => void world.timers.after(PACE_MS, resolve));
    }
    client.close();
  }

  /** Whether an image holds everything that was promised. */
  isIn(contents: Uint8Array): boolean {
    for (let slot = 0; slot < this.#acknowledged; slot++) {
      if (contents[slot * SLOT_BYTES] !== slot + 1) return false;
    }
    return true;
  }
}
