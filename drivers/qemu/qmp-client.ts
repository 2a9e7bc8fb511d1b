/**
 * One QMP connection from the client's side: greeting, negotiation, commands matched to replies by id, events in order.
 * Whatever goes wrong on the wire ends the connection with one VirtError; every command that was sent and not answered
 * by then rejects with `outcome: 'unknown'`.
 */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';
import type { QmpGreeting } from '../../src/qmp/messages.ts';
import { assert } from '../../src/util/assert.ts';
import type { Timers } from '../../src/util/timers.ts';
import { QmpError, refused } from './errors.ts';
import { LineSplitter } from './line-splitter.ts';
import {
  isQmpObject,
  member,
  parseQmp,
  type QmpCall,
  type QmpObject,
  type QmpValue,
  stringifyQmp,
} from './qmp-json.ts';

/** Where a connection stands. */
export type QmpState = 'connecting' | 'greeting' | 'negotiating' | 'running' | 'closing' | 'closed';

const NEXT = {
  connecting: ['greeting', 'closed'],
  greeting: ['negotiating', 'closing', 'closed'],
  negotiating: ['running', 'closing', 'closed'],
  running: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
} as const satisfies Record<QmpState, readonly QmpState[]>;

/** What a server may say in each state, by the member that tells messages apart. */
const EXPECTED: Record<QmpState, readonly string[]> = {
  connecting: [],
  greeting: ['QMP'],
  negotiating: ['return', 'error', 'event'],
  running: ['return', 'error', 'event'],
  closing: [],
  closed: [],
};

/** An asynchronous event as it came (QAPI: events). */
export interface QmpEventMessage {
  readonly event: string;
  readonly data: QmpObject;
}

/** Limits of a connection. */
export interface QmpClientOptions {
  readonly timers: Timers;
  /** The longest line that is taken; 64 MiB when left out, as QEMU itself. */
  readonly maxLineBytes?: number;
  /** How long greeting and negotiation may take together; 30 s when left out. */
  readonly greetingTimeoutMs?: number;
}

interface Pending {
  readonly command: string;
  resolve(reply: QmpObject): void;
  reject(error: VirtError): void;
}

const DEFAULT_LINE_BYTES = 64 * 1024 * 1024;
const DEFAULT_GREETING_MS = 30_000;
const EXCERPT_CHARACTERS = 80;
const LOOK = 'look at the jobs and disks of the machine to learn whether it took effect';
const BROKEN = 'the other end is not QEMU or its monitor is broken, so the connection was closed';

function lost(detail: string, cause?: unknown): VirtError {
  return new VirtError(ErrorCode.INTERNAL_ERROR, detail, cause === undefined ? {} : { cause });
}

/** A QMP connection. Made by {@link QmpClient.connect}, usable until {@link closed} settles. */
export class QmpClient {
  /** Settles once, with what ended the connection; undefined after {@link close}. */
  readonly closed: Promise<VirtError | undefined>;
  readonly #lines: LineSplitter;
  readonly #maxLineBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Set<(event: QmpEventMessage) => void>();
  readonly #ended = Promise.withResolvers<VirtError | undefined>();
  readonly #greeted = Promise.withResolvers<QmpGreeting>();
  #state: QmpState = 'connecting';
  #duplex: Duplex | undefined;
  #greeting: QmpGreeting | undefined;
  #cause: VirtError | undefined;
  #lastId = 0;

  private constructor(options: QmpClientOptions) {
    this.#maxLineBytes = options.maxLineBytes ?? DEFAULT_LINE_BYTES;
    this.#lines = new LineSplitter(this.#maxLineBytes);
    this.closed = this.#ended.promise;
    // Whoever waits for the greeting gets the rejection too; without a waiter it must not end the process.
    this.#greeted.promise.catch(() => undefined);
  }

  /**
   * Opens a connection and negotiates. Rejects with a VirtError, the stream closed, if the other end is no QMP server,
   * closes, or does not answer in time.
   */
  static async connect(open: () => Promise<Duplex>, options: QmpClientOptions): Promise<QmpClient> {
    const client = new QmpClient(options);
    const timeoutMs = options.greetingTimeoutMs ?? DEFAULT_GREETING_MS;
    const cancel = options.timers.after(timeoutMs, () => {
      client.#fail(
        lost(`the monitor did not answer within ${timeoutMs} ms: check that the emulator is QEMU`),
      );
    });
    try {
      client.#attach(await open());
      client.#greeting = await client.#greeted.promise;
      await client.execute('qmp_capabilities');
      client.#enter('running');
      return client;
    } catch (error) {
      client.close();
      throw error;
    } finally {
      cancel();
    }
  }

  /** Where the connection stands. */
  get state(): QmpState {
    return this.#state;
  }

  /** What the server said first. */
  get greeting(): QmpGreeting {
    assert(this.#greeting !== undefined, 'a client is handed out after its greeting');
    return this.#greeting;
  }

  /**
   * Sends a command; resolves to its return value. Rejects with INTERNAL_ERROR: with a {@link QmpError} as cause if
   * QEMU refused, with `outcome: 'unknown'` if the connection ended before the reply.
   */
  async execute(name: string, args?: QmpObject): Promise<QmpValue> {
    const { return: value, error } = await this.request({ execute: name, ...member('arguments', args) });
    if (value !== undefined) return value;
    const body = isQmpObject(error) ? error : {};
    throw refused(name, new QmpError(String(body.class), String(body.desc)));
  }

  /** {@link execute} for an encoded command. */
  call(call: QmpCall): Promise<QmpValue> {
    return this.execute(call.execute, call.arguments);
  }

  /** Sends a command object with an id of the client's own; resolves to the whole reply, also to a refusal. */
  request(command: QmpObject): Promise<QmpObject> {
    const name = typeof command.execute === 'string' ? command.execute : 'command';
    const { promise, resolve, reject } = Promise.withResolvers<QmpObject>();
    if (this.#duplex === undefined || (this.#state !== 'running' && this.#state !== 'negotiating')) {
      const why = this.#cause === undefined ? '' : ` (${this.#cause.detail})`;
      reject(
        lost(`the monitor is closed, '${name}' was not sent${why}: start the machine again`, this.#cause),
      );
      return promise;
    }
    this.#lastId += 1;
    const id = `libvirt-${this.#lastId}`;
    this.#pending.set(id, { command: name, resolve, reject });
    this.#duplex.write(Buffer.from(`${stringifyQmp({ ...command, id })}\r\n`));
    return promise;
  }

  /** Calls back for every event, synchronously and in order, before any reply that came after it settles. */
  onEvent(listener: (event: QmpEventMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Ends the connection; outstanding commands reject with `outcome: 'unknown'`. Idempotent. */
  close(): void {
    this.#end(undefined, () => lost('the monitor connection was closed from this side'));
  }

  #enter(next: QmpState): void {
    const legal: readonly QmpState[] = NEXT[this.#state];
    assert(legal.includes(next), `QMP connection: ${this.#state} -> ${next}`);
    this.#state = next;
  }

  #attach(duplex: Duplex): void {
    // The deadline may have passed while the stream was being opened.
    if (this.#state === 'closed') {
      duplex.onClose(() => undefined);
      duplex.close();
      throw this.#cause ?? lost('the monitor connection was closed from this side');
    }
    this.#duplex = duplex;
    this.#enter('greeting');
    duplex.onData((bytes) => this.#onData(bytes));
    duplex.onClose((cause) => this.#onClose(cause));
  }

  #onClose(cause: Error | undefined): void {
    if (this.#state !== 'closing') this.#onLost(cause);
    if (this.#state === 'closing') this.#enter('closed');
  }

  #onLost(cause: Error | undefined): void {
    const where = this.#lines.pendingBytes > 0 ? ' in the middle of a message' : '';
    const why = cause === undefined ? '' : ` (${cause.message})`;
    const error = lost(`qemu unexpectedly closed the monitor${where}${why}`, cause);
    this.#fail(error);
  }

  #onData(bytes: Uint8Array): void {
    if (EXPECTED[this.#state].length === 0) return;
    const fits = this.#lines.push(bytes, (line) => {
      this.#onLine(line);
      return EXPECTED[this.#state].length > 0;
    });
    if (!fits)
      this.#fail(lost(`the monitor sent a line of more than ${this.#maxLineBytes} bytes: ${BROKEN}`));
  }

  #onLine(line: Uint8Array): void {
    let text = '';
    let message: QmpValue;
    try {
      text = this.#decoder.decode(line);
      if (text.trim() === '') return;
      message = parseQmp(text);
    } catch (cause) {
      const excerpt = text === '' ? 'invalid UTF-8' : text.slice(0, EXCERPT_CHARACTERS);
      this.#fail(lost(`the monitor sent a line that is not JSON (${excerpt}): ${BROKEN}`, cause));
      return;
    }
    this.#onMessage(message, text);
  }

  #onMessage(message: QmpValue, text: string): void {
    const expected = EXPECTED[this.#state];
    const kind = isQmpObject(message) ? expected.find((member) => Object.hasOwn(message, member)) : undefined;
    if (!isQmpObject(message) || kind === undefined) {
      const what = `an unexpected message while ${this.#state} (${text.slice(0, EXCERPT_CHARACTERS)})`;
      this.#fail(lost(`the monitor sent ${what}: ${BROKEN}`));
    } else if (kind === 'QMP') this.#onGreeting(message, text);
    else if (kind === 'event') this.#onEvent(message);
    else this.#onReply(message, text);
  }

  #onGreeting(message: QmpObject, text: string): void {
    const version = isQmpObject(message.QMP) ? message.QMP.version : undefined;
    const numbers = isQmpObject(version) ? version.qemu : undefined;
    const known =
      isQmpObject(numbers) && ['major', 'minor', 'micro'].every((part) => typeof numbers[part] === 'number');
    if (!known) {
      this.#fail(
        lost(`the monitor's greeting names no version (${text.slice(0, EXCERPT_CHARACTERS)}): ${BROKEN}`),
      );
      return;
    }
    this.#enter('negotiating');
    this.#greeted.resolve(message as unknown as QmpGreeting);
  }

  #onEvent(message: QmpObject): void {
    const event = {
      event: String(message.event),
      data: isQmpObject(message.data) ? message.data : {},
    };
    for (const listener of [...this.#listeners]) listener(event);
  }

  #onReply(message: QmpObject, text: string): void {
    const id = typeof message.id === 'string' ? message.id : '';
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      const excerpt = text.slice(0, EXCERPT_CHARACTERS);
      this.#fail(lost(`the monitor sent a reply that belongs to no command (${excerpt}): ${BROKEN}`));
      return;
    }
    this.#pending.delete(id);
    pending.resolve(message);
  }

  #fail(error: VirtError): void {
    this.#end(error, () => error);
  }

  /** Goes to `closing`, or to `closed` if there is no stream; `tell` makes what those who wait are told. */
  #end(cause: VirtError | undefined, tell: () => VirtError): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#cause = cause;
    this.#enter(this.#state === 'connecting' ? 'closed' : 'closing');
    const outstanding = [...this.#pending.values()];
    this.#pending.clear();
    this.#listeners.clear();
    // An error costs the walk over its stack, and mostly nobody waits.
    if (this.#greeting === undefined || outstanding.length > 0) this.#refuse(outstanding, tell());
    this.#ended.resolve(cause);
    this.#duplex?.close();
  }

  #refuse(outstanding: readonly Pending[], why: VirtError): void {
    for (const { command, reject } of outstanding) {
      const detail = `${why.detail}, before '${command}' was answered: ${LOOK}`;
      reject(new VirtError(why.code, detail, { outcome: 'unknown', cause: why }));
    }
    this.#greeted.reject(why);
  }
}
