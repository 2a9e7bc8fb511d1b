import { expect, test } from 'vitest';
import { createWorld, type World } from '../../../../mock-qemu/shells/world.ts';
import type { Duplex } from '../../../../src/qmp/duplex.ts';

/** A client that waits for lines. */
class Client {
  readonly #duplex: Duplex;
  #lines: string[] = [];
  #rest = '';
  #wake: () => void = () => undefined;
  closed = false;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    duplex.onData((bytes) => {
      const parts = (this.#rest + new TextDecoder().decode(bytes)).split('\r\n');
      this.#rest = parts.pop() ?? '';
      this.#lines.push(...parts);
      this.#wake();
    });
    duplex.onClose(() => {
      this.closed = true;
    });
  }

  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift() ?? '';
  }

  ask(command: object): Promise<string> {
    this.#duplex.write(new TextEncoder().encode(JSON.stringify(command)));
    return this.line();
  }

  static async negotiated(world: World): Promise<Client> {
    const client = new Client(world.boot({ profile: 'qemu-7.2', argv: ['-S', '-nodefaults'] }).connect());
    await client.line();
    await client.ask({ execute: 'qmp_capabilities' });
    return client;
  }
}

test('equal seeds and clients give equal traces', async () => {
  const run = async () => {
    const world = createWorld({ seed: 5 });
    const clients = await Promise.all([Client.negotiated(world), Client.negotiated(world)]);
    for (const client of clients) await client.ask({ execute: 'query-status' });
    const trace = world.trace();
    world.close();
    return trace;
  };
  const trace = await run();
  expect(trace).toContain('query-status');
  expect(await run()).toBe(trace);
});

test('time jumps when nobody has anything to do, in order, and stands still otherwise', async () => {
  const world = createWorld({ seed: 1 });
  const rang: number[] = [];
  const ring = (delayMs: number) =>
    new Promise<void>((resolve) => {
      world.timers.after(delayMs, () => {
        rang.push(world.timers.now());
        resolve();
      });
    });
  const cancel = world.timers.after(1000, () => rang.push(Number.NaN));
  cancel();
  const all = [ring(3_600_000), ring(20), ring(20)];
  await all[1];
  expect(world.timers.now()).toBe(20);
  await Promise.all(all);
  expect(rang).toEqual([20, 20, 3_600_000]);
});

test('a machine that ends closes its connections and says how', async () => {
  const world = createWorld({ seed: 1 });
  const qemu = world.boot({ profile: 'qemu-7.2', argv: ['-S'] });
  const client = new Client(qemu.connect());
  await client.line();
  qemu.signal('SIGKILL');
  expect(await qemu.exited).toEqual({ code: null, signal: 'SIGKILL' });
  expect(client.closed).toBe(true);
  expect(qemu.hasExited()).toBe(true);
  // A late connection ends at once.
  expect(new Client(qemu.connect()).closed).toBe(true);
});

test('a machine that cannot start has ended on return and says why', () => {
  const qemu = createWorld({ seed: 1 }).boot({ profile: 'qemu-7.2', argv: ['-bogus'] });
  expect(qemu.hasExited()).toBe(true);
  expect(qemu.output()).toContain('-bogus: invalid option');
});

test('closing kills every machine and stops time', async () => {
  const world = createWorld({ seed: 1 });
  const qemu = world.boot({ profile: 'qemu-7.2', argv: [] });
  let rang = false;
  world.timers.after(1, () => {
    rang = true;
  });
  world.close();
  world.close();
  expect(await qemu.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  expect(rang).toBe(false);
});

test('an unknown profile is refused by name', () => {
  expect(() => createWorld({ seed: 1 }).boot({ profile: 'qemu-99', argv: [] })).toThrow(
    "unknown profile 'qemu-99'",
  );
});
