/** A bare QMP connection, as the `qmp/` contracts see it: bytes in, messages out, in order. */
import { DeadlineViolation, expect, SetupFailure, Violation } from '../expect.ts';
import type { QmpOptions, QmpServer, QmpStream } from '../target.ts';
import { isObject, isObjectList, objectAt, type WireMessage, type WireValue } from '../wire.ts';
import type { World } from '../world.ts';

const DEADLINE_MS = 30_000;
const POLL_MS = 20;

/** What a command was answered with. */
export type Reply =
  | { readonly return: WireValue }
  | { readonly error: { readonly class: string; readonly desc: string } };

/** One connection to one QMP server. */
export class Monitor {
  readonly world: World;
  /** Everything that the server sent on this connection, in order. */
  readonly received: WireMessage[] = [];
  readonly #stream: QmpStream;
  readonly #decoder = new TextDecoder();
  readonly #waiting = new Set<() => void>();
  #rest = '';
  #sent = 0;
  #isClosed = false;

  private constructor(world: World, stream: QmpStream) {
    this.world = world;
    this.#stream = stream;
    stream.onData((bytes) => this.#take(bytes));
    stream.onClose(() => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  /** Starts a server without disks and connects to it; its greeting has come. */
  static async start(
    world: World,
    options?: QmpOptions,
  ): Promise<{ readonly server: QmpServer; readonly monitor: Monitor }> {
    const start = world.session.startQmp;
    if (!start) throw new SetupFailure('the target has no QMP server to offer');
    const server = await start(options);
    return { server, monitor: await Monitor.connect(world, server) };
  }

  /** Connects once more; the greeting has come. */
  static async connect(world: World, server: QmpServer): Promise<Monitor> {
    const monitor = new Monitor(world, await server.connect());
    await monitor.until('the greeting', () => monitor.received.length > 0);
    return monitor;
  }

  /** Starts a server and negotiates. */
  static async ready(world: World): Promise<Monitor> {
    const { monitor } = await Monitor.start(world);
    await monitor.succeed('qmp_capabilities');
    return monitor;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends bytes as they are. */
  send(text: string): void {
    this.#stream.write(new TextEncoder().encode(text));
  }

  /** Ends the connection from this side; resolves when all of it is gone. */
  async close(): Promise<void> {
    this.#stream.close();
    await this.until('the end of the connection', () => this.#isClosed);
  }

  /** Sends a command and waits for its reply. */
  async execute(execute: string, args?: WireMessage): Promise<Reply> {
    const id = `c${++this.#sent}`;
    this.send(`${JSON.stringify({ execute, ...(args ? { arguments: args } : {}), id })}\n`);
    const message = await this.until(`the reply to ${execute}`, () =>
      this.received.find((each) => each.id === id),
    );
    return replyOf(message);
  }

  /** A command that must succeed; resolves to what it returns. */
  async succeed(execute: string, args?: WireMessage): Promise<WireValue> {
    const reply = await this.execute(execute, args);
    if ('error' in reply) throw new Violation(`${execute} was refused: ${reply.error.desc}`);
    return reply.return;
  }

  /** A query whose answer is a list of objects. */
  async list(execute: string, args?: WireMessage): Promise<readonly WireMessage[]> {
    const value = await this.succeed(execute, args);
    if (!isObjectList(value)) throw new Violation(`${execute} did not return a list of objects`);
    return value;
  }

  /** A command of the human monitor. */
  async human(line: string): Promise<string> {
    return String(await this.succeed('human-monitor-command', { 'command-line': line }));
  }

  /** One job as query-jobs shows it. */
  async job(id: string): Promise<WireMessage | undefined> {
    return (await this.list('query-jobs')).find((job) => job.id === id);
  }

  /** Waits until a job is in a state, or gone for `null`. */
  async reach(id: string, status: string): Promise<void> {
    await this.until(`job ${id} in state ${status}`, () =>
      this.jobEvents(id).at(-1) === `J:${status}` ||
      (status === 'ready' && this.jobEvents(id).includes('BLOCK_JOB_READY'))
        ? true
        : undefined,
    );
  }

  /** The events of one job so far: `J:running` for a JOB_STATUS_CHANGE, the name for any other. */
  jobEvents(id: string): string[] {
    return this.received.flatMap((message) => {
      const data = objectAt(message, 'data');
      if (typeof message.event !== 'string' || (data.id ?? data.device) !== id) return [];
      return [message.event === 'JOB_STATUS_CHANGE' ? `J:${String(data.status)}` : message.event];
    });
  }

  /** The data of the events of one name so far. */
  eventData(name: string): WireMessage[] {
    return this.received.flatMap((message) => (message.event === name ? [objectAt(message, 'data')] : []));
  }

  /** Waits until `fact` gives something; looks whenever something arrives. */
  async until<T>(what: string, fact: () => T | undefined | false): Promise<T> {
    const deadline = this.world.timers.now() + DEADLINE_MS;
    for (;;) {
      const value = fact();
      if (value !== undefined && value !== false) return value;
      expect(!this.#isClosed || what.startsWith('the end'), `the connection ended before ${what}`);
      if (this.world.timers.now() >= deadline)
        throw new DeadlineViolation(
          `waited ${DEADLINE_MS} ms for ${what}; received last: ${JSON.stringify(this.received.slice(-4))}`,
        );
      await this.#somethingArrives();
    }
  }

  #somethingArrives(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel = this.world.timers.after(POLL_MS, wake);
      this.#waiting.add(wake);
    });
  }

  #take(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.received.push(parse(line));
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

/** The message without what only tells it apart from others of its kind. */
export function replyOf(message: WireMessage): Reply {
  const { error } = message;
  if (!isObject(error)) return { return: message.return ?? null };
  return { error: { class: String(error.class), desc: String(error.desc) } };
}

function parse(line: string): WireMessage {
  try {
    const value: WireValue = JSON.parse(line);
    if (isObject(value)) return value;
  } catch {
    // Told below, with the line.
  }
  throw new Violation(`the server sent a line that is no JSON object: ${line}`);
}
