/** One QMP connection for two: a contract that must not notice, and the suite that makes its images over it. */
import { isObject, objectAt, type WireMessage, type WireValue } from '../../conformance/wire.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';

const OWN = 'mockvirt-suite';
const POLL_MS = 20;

/** How a command of the suite's own ended. */
interface Waiting {
  resolve(value: WireValue): void;
  reject(error: Error): void;
}

/**
 * A stream to a QMP server, on which the suite sends commands of its own. Their replies, and the events of the jobs
 * they start, are kept from whoever else uses the stream. A server may serve only one connection at a time, so a
 * second one is no way out.
 */
export class SharedStream implements Duplex {
  /** Resolves with the first message, rejects if the stream ends before it. */
  readonly greeting: Promise<WireMessage>;
  readonly #inner: Duplex;
  readonly #decoder = new TextDecoder();
  readonly #waiting = new Map<string, Waiting>();
  #held: Uint8Array[] = [];
  #listener: ((bytes: Uint8Array) => void) | undefined;
  #onClose: ((cause?: Error) => void) | undefined;
  #greet: Waiting | undefined;
  #closed: { readonly cause?: Error } | undefined;
  #rest = '';
  #sent = 0;

  constructor(inner: Duplex) {
    this.#inner = inner;
    this.greeting = new Promise<WireValue>((resolve, reject) => {
      this.#greet = { resolve, reject };
    }).then((value) => (isObject(value) ? value : {}));
    // Whoever waits for it is told; nobody has to.
    this.greeting.catch(() => {});
    inner.onData((bytes) => this.#take(bytes));
    inner.onClose((cause) => this.#end(cause));
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  write(bytes: Uint8Array): void {
    this.#inner.write(bytes);
  }

  onData(listener: (bytes: Uint8Array) => void): void {
    this.#listener = listener;
    for (const bytes of this.#held.splice(0)) listener(bytes);
  }

  onClose(listener: (cause?: Error) => void): void {
    this.#onClose = listener;
    if (this.#closed) listener(this.#closed.cause);
  }

  close(): void {
    this.#inner.close();
  }

  /** Sends a command of the suite's own, on a negotiated connection. @throws Error with the server's words */
  execute(command: string, args: WireMessage = {}): Promise<WireValue> {
    if (this.#closed) return Promise.reject(gone(this.#closed.cause));
    const id = `${OWN}-${++this.#sent}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.write(new TextEncoder().encode(`${JSON.stringify({ execute: command, arguments: args, id })}\n`));
    });
  }

  /** Runs a job of the suite's own to its end, and dismisses it. @throws Error with the job's error */
  async runJob(command: string, args: WireMessage): Promise<void> {
    await this.execute(command, { 'job-id': OWN, ...args });
    for (;;) {
      const jobs = await this.execute('query-jobs');
      const job = Array.isArray(jobs) ? jobs.find((each) => isObject(each) && each.id === OWN) : undefined;
      if (!job) throw new Error(`${command}: its job has vanished`);
      if (job.status === 'concluded') {
        await this.execute('job-dismiss', { id: OWN });
        if (job.error !== undefined) throw new Error(`${command}: ${String(job.error)}`);
        return;
      }
      await pause();
    }
  }

  #take(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (!this.#isOwn(line)) this.#pass(line);
  }

  #pass(line: string): void {
    const bytes = new TextEncoder().encode(`${line}\n`);
    if (this.#listener) this.#listener(bytes);
    else this.#held.push(bytes);
  }

  /** Whether a line is nobody else's business; what waits for it is told. */
  #isOwn(line: string): boolean {
    const message = parse(line);
    if (!message) return false;
    this.#greet?.resolve(message);
    this.#greet = undefined;
    if (typeof message.event === 'string') return objectAt(message, 'data').id === OWN;
    const id = String(message.id);
    const waiting = this.#waiting.get(id);
    if (!waiting) return false;
    this.#waiting.delete(id);
    if (isObject(message.error)) waiting.reject(new Error(String(message.error.desc)));
    else waiting.resolve(message.return ?? null);
    return true;
  }

  #end(cause: Error | undefined): void {
    this.#closed = cause ? { cause } : {};
    for (const waiting of [this.#greet, ...this.#waiting.values()]) waiting?.reject(gone(cause));
    this.#waiting.clear();
    this.#onClose?.(cause);
  }
}

/** Lets a server get on with its work. */
export function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

const gone = (cause: Error | undefined) => new Error('the QMP connection ended', { cause });

function parse(line: string): WireMessage | undefined {
  try {
    const value: WireValue = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
