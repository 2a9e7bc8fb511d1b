/** The QMP port of a simulated QEMU under fire: what it must do with any bytes at all. */
import { Random } from '../../mock-qemu/core/random.ts';
import { createMemoryStore } from '../../mock-qemu/images/memory.ts';
import { DEFAULT_PROFILE, profileNamed } from '../../mock-qemu/profiles/index.ts';
import { MockQemu } from '../../mock-qemu/qmp/machine.ts';
import { assert } from '../../src/util/assert.ts';
import { drawStream, type FuzzStream } from './streams.ts';

/** What is fired. */
export interface FuzzOptions {
  readonly seed: number;
  readonly count: number;
  /** Lines that a real QEMU answers to the same bytes; compared where given. */
  readonly real?: (bytes: Uint8Array) => Promise<readonly string[]>;
  readonly onProgress?: (done: number) => void;
}

/** What it did. */
export interface FuzzResult {
  readonly streams: number;
  readonly answers: number;
  /** Processor time: others may keep the processors busy meanwhile. */
  readonly slowestMs: number;
  /** How much the memory grew at most, over what was in use after the first streams. */
  readonly grownBytes: number;
}

/** A stream that broke a rule: which one, and how to see it again. */
export class FuzzFailure extends Error {}

const ONE_SECOND_NS = 1_000_000_000;
const SLOWEST_MS = 10_000;
/** Measured every so many streams, the first time when all code has run. */
const MEASURED_STREAMS = 500;
/** A stream is a few MiB at most, and nothing of it may stay. */
const MAX_GROWN_BYTES = 128 * 1024 * 1024;
/** A byte that ends whatever was left open, then a command whose reply marks the end. */
const fence = (mark: string): Uint8Array =>
  Buffer.from(`\xff\n{"execute":"query-name","id":"${mark}"}`, 'latin1');
const ANSWER = /^\{"(?:return|error|id|timestamp)": /;

/** One simulated machine with one negotiated client. */
class Port {
  readonly #qemu = new MockQemu({
    profile: profileNamed(DEFAULT_PROFILE),
    argv: ['-machine', 'none', '-nodefaults'],
    seed: 1,
    images: createMemoryStore(),
  });
  readonly #decoder = new TextDecoder();

  constructor() {
    this.#qemu.step({ type: 'connect', connection: 1 });
    this.say([Buffer.from('{"execute":"qmp_capabilities"}')]);
  }

  /** Sends chunks, lets a second pass, and gives the lines that came. */
  say(chunks: readonly Uint8Array[]): string[] {
    for (const bytes of chunks) this.#qemu.step({ type: 'data', connection: 1, bytes });
    this.#qemu.advance(ONE_SECOND_NS);
    let text = '';
    for (const output of this.#qemu.takeOutputs()) {
      assert(output.type === 'data', `the machine gave ${output.type}`);
      text += this.#decoder.decode(output.bytes);
    }
    return text.split('\r\n').slice(0, -1);
  }

  get unreadBytes(): number {
    return this.#qemu.unreadBytes(1);
  }
}

/** Fires streams at one machine; rejects with a {@link FuzzFailure} at the first rule that is broken. */
export async function fuzzPort({ seed, count, real, onProgress }: FuzzOptions): Promise<FuzzResult> {
  const random = new Random(seed);
  const port = new Port();
  const memory = new MemoryBound();
  let [answers, slowestMs] = [0, 0];
  for (let number = 1; number <= count; number++) {
    const stream = drawStream(random);
    try {
      const started = process.cpuUsage();
      const lines = answersTo(port, stream, `mark-${number}`);
      const { user, system } = process.cpuUsage(started);
      const tookMs = (user + system) / 1000;
      assert(tookMs < SLOWEST_MS, `it took ${Math.round(tookMs)} ms`);
      answers += lines.length;
      slowestMs = Math.max(slowestMs, tookMs);
      if (real) assertSame(lines, await real(Buffer.concat(stream.chunks)));
      if (number % MEASURED_STREAMS === 0) memory.measure();
    } catch (cause) {
      throw new FuzzFailure(describe(cause, stream, number, seed), { cause });
    }
    onProgress?.(number);
  }
  return { streams: count, answers, slowestMs, grownBytes: memory.grownBytes };
}

/** What a stream was answered with, once the port is known to be usable again. */
function answersTo(port: Port, { chunks }: FuzzStream, mark: string): string[] {
  const lines = port.say([...chunks, fence(mark)]);
  const last = lines.pop() ?? '';
  assert(last.includes(`"id": "${mark}"`), `the command behind it was not answered: ${last}`);
  assert(port.unreadBytes === 0, `${port.unreadBytes} bytes were left unread`);
  for (const line of lines) {
    assert(ANSWER.test(line), `no answer of QMP: ${line}`);
    // A number that no double holds goes back as QEMU prints it, which is no JSON: its id, and nothing else.
    JSON.parse(line.replace(/^\{"id": -?inf(?=[,}])/, '{"id": null'));
  }
  return lines;
}

function assertSame(simulated: readonly string[], real: readonly string[]): void {
  const at = Math.max(simulated.length, real.length);
  for (let line = 0; line < at; line++) {
    const same = simulated[line] === real[line];
    assert(same, `answer ${line + 1} is ${simulated[line]}, but that of real QEMU ${real[line]}`);
  }
}

/** Keeps memory in bounds: what the machine holds may not grow with what it has been sent. */
class MemoryBound {
  #baseBytes: number | undefined;
  grownBytes = 0;

  measure(): void {
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    this.#baseBytes ??= heapUsed + external;
    this.grownBytes = Math.max(this.grownBytes, heapUsed + external - this.#baseBytes);
    assert(this.grownBytes < MAX_GROWN_BYTES, `memory grew by ${this.grownBytes} bytes`);
  }
}

const SHOWN_BYTES = 400;

function describe(cause: unknown, { kind, chunks }: FuzzStream, number: number, seed: number): string {
  const bytes = Buffer.concat(chunks);
  const shown = JSON.stringify(bytes.subarray(0, SHOWN_BYTES).toString('latin1'));
  const what = cause instanceof Error ? cause.message : String(cause);
  return `stream ${number} of seed ${seed} (${kind}, ${bytes.length} bytes): ${what}\n${shown}`;
}
