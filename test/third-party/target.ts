/** How the suite reaches somebody else's driver. */
import { openConnection, type Timers } from 'mockvirt';
import { canonicalRuns, type Session, type Target } from 'mockvirt/conformance';
import { CAPABILITIES, TinyDriver } from './driver.ts';

/** Time that jumps to the next timer whenever nothing else is left to do. */
function jumpingTime(): Timers {
  const pending = new Map<() => void, number>();
  let nowMs = 0;
  let isTurning = false;
  const turn = () => {
    const [next] = [...pending].sort(([, left], [, right]) => left - right);
    isTurning = next !== undefined;
    if (!next) return;
    const [fire, atMs] = next;
    pending.delete(fire);
    nowMs = Math.max(nowMs, atMs);
    fire();
    setImmediate(turn);
  };
  return {
    now: () => nowMs,
    after(delayMs, callback) {
      const fire = () => callback();
      pending.set(fire, nowMs + delayMs);
      if (!isTurning) setImmediate(turn);
      isTurning = true;
      return () => pending.delete(fire);
    },
  };
}

/** The stretches of equal bytes. */
function* runs(data: Uint8Array) {
  for (let start = 0; start < data.length; ) {
    const byte = data[start];
    let end = start;
    while (end < data.length && data[end] === byte) end++;
    yield { offsetBytes: start, lengthBytes: end - start, byte };
    start = end;
  }
}

export const tinyTarget: Target = {
  id: 'tiny',
  title: 'somebody else’s driver',
  runs: 5,
  available: async () => ({ ok: true, version: 'tiny 1.0', capabilities: CAPABILITIES }),
  async open(): Promise<Session> {
    const driver = new TinyDriver(jumpingTime());
    const connection = openConnection({ uri: 'tiny:///', driver });
    return {
      connection,
      directory: '/images',
      async createImage({ writes, ...spec }) {
        driver.create(spec);
        for (const write of writes) driver.write(spec.path, write);
      },
      contents: async (path) => canonicalRuns(runs(driver.image(path).data)),
      guest: (domain, disk) => ({
        write: async (write) => driver.machines.get(domain)?.guestWrite(disk, write),
        flush: async () => {},
      }),
      dispose: () => connection.close(),
    };
  },
};
