/** Runs a script in the simulation, in this process. */
import { join } from 'node:path';
import { ABSENT } from '../../mock-qemu/core/extents.ts';
import type { ImageFile, ImageStore } from '../../mock-qemu/core/images.ts';
import { createMemoryStore } from '../../mock-qemu/images/memory.ts';
import { profileNamed } from '../../mock-qemu/profiles/index.ts';
import { MockQemu } from '../../mock-qemu/qmp/machine.ts';
import { type LayerRun, layerText, RunList } from './qcow2.ts';
import type { Script, Step } from './script.ts';
import { type FileRecord, GRAPH_QUERIES, JOB_QUERIES, Normaliser, type Transcript } from './transcript.ts';
import { FILE_NAMES, launchArgv, makeSimulatedImages } from './worlds.ts';

// A job that wakes within this is not at rest: idle mirrors look for work every 100 ms.
const REST_NS = 150_000_000;
const ASKING_NS = 3_000_000;
const MAX_JUMPS = 100_000;
const BLOCK_BYTES = 512;

/** One machine and its only client. */
class Session {
  readonly qemu: MockQemu;
  readonly store: ImageStore;
  stdout = '';
  ended = false;
  /** A command was never answered. */
  hangs = false;
  /** The signal that ended it. */
  signal: string | null = null;
  #heard: Record<string, unknown>[] = [];

  constructor(script: Script, profile: string, directory: string) {
    this.store = createMemoryStore({ directories: [directory] });
    makeSimulatedImages(this.store, directory);
    const argv = launchArgv(script.world, directory);
    this.qemu = new MockQemu({ profile: profileNamed(profile), argv, seed: 1, images: this.store });
    this.qemu.step({ type: 'connect', connection: 1 });
    this.send({ execute: 'qmp_capabilities' });
    this.heard();
  }

  /** Executes a command and waits for its reply. */
  send(step: Step): void {
    const bytes = new TextEncoder().encode(JSON.stringify(step));
    this.qemu.step({ type: 'data', connection: 1, bytes });
    this.#take();
    const isReply = (message: object) => 'return' in message || 'error' in message;
    for (let jumps = 0; jumps < MAX_JUMPS && !this.ended; jumps++) {
      if (this.#heard.some(isReply) || !this.#jump(Number.POSITIVE_INFINITY)) break;
    }
    if (this.ended || this.#heard.some(isReply)) return;
    this.#heard.push({ silent: true });
    this.hangs = true;
    this.ended = true;
  }

  /** Lets happen what happens soon. */
  rest(): void {
    for (let jumps = 0; jumps < MAX_JUMPS && this.#jump(this.qemu.vm.clock.now() + REST_NS); jumps++);
    // A real one is asked whether it is at rest, which takes its time.
    if (!this.ended) this.qemu.advance(ASKING_NS);
  }

  /** What came since the last call. */
  heard(): Record<string, unknown>[] {
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  #jump(untilNs: number): boolean {
    const at = this.qemu.nextTimerAt();
    if (this.ended || at === undefined || at > untilNs) return false;
    this.qemu.advance(at - this.qemu.vm.clock.now());
    this.#take();
    return true;
  }

  #take(): void {
    for (const output of this.qemu.takeOutputs()) {
      if (output.type === 'data') this.#hear(new TextDecoder().decode(output.bytes));
      else if (output.type === 'print' && output.stream === 'stdout') this.stdout += output.text;
      else if (output.type === 'exit') {
        this.ended = true;
        this.signal = output.signal;
      }
    }
  }

  #hear(text: string): void {
    for (const line of text.split('\r\n')) if (line !== '') this.#heard.push(JSON.parse(line));
  }
}

/** The transcript of a script under a profile. */
export function runSimulated(script: Script, profile: string, directory: string): Transcript {
  const session = new Session(script, profile, directory);
  const normaliser = new Normaliser(directory);
  const query = (execute: string): string => {
    session.send({ execute });
    return session
      .heard()
      .map((message) => normaliser.value(message))
      .join('\n');
  };
  session.rest();
  session.heard();
  const steps = script.steps.map((step) => {
    if (!session.ended) session.send(step);
    if (!session.ended) session.rest();
    const heard = session.heard().map((message) => normaliser.value(message));
    return { heard, jobs: session.ended ? [] : JOB_QUERIES.map(query) };
  });
  const graph = session.ended ? [] : GRAPH_QUERIES.map(query);
  if (!session.ended) session.send({ execute: 'quit' });
  if (session.hangs) return { steps, graph, end: [normaliser.value({ hangs: true })], stdout: '', files: [] };
  const died = session.signal === null ? [] : [{ died: session.signal }];
  const end = [...session.heard(), ...died].map((message) => normaliser.value(message));
  return {
    steps,
    graph,
    end,
    stdout: normaliser.output(session.stdout),
    files: filesOf(session, directory, normaliser),
  };
}

function filesOf(session: Session, directory: string, normaliser: Normaliser): FileRecord[] {
  const { store } = session;
  return FILE_NAMES.filter((name) => store.exists(join(directory, name))).map((name) => ({
    name,
    text: normaliser.text(simulatedLayer(store, store.open(join(directory, name)))),
  }));
}

/** An image file of the simulation as the text of its layer. */
function simulatedLayer(store: ImageStore, image: ImageFile): string {
  const list = new RunList();
  for (const { start, end, tag } of image.extents.extents) {
    if (tag !== ABSENT && tag < 256) list.add(start, end, tag);
    else
      for (let at = start; at < end; at += BLOCK_BYTES)
        addBlob(list, store, tag, at, Math.min(end, at + BLOCK_BYTES));
  }
  const runs: readonly LayerRun[] = list.runs;
  return layerText({
    format: image.format,
    sizeBytes: image.virtualSizeBytes,
    backing: image.header.backingName,
    backingFormat: image.header.backingFormat,
    runs,
  });
}

function addBlob(list: RunList, store: ImageStore, tag: number, start: number, end: number): void {
  const bytes = Buffer.from(
    Array.from({ length: end - start }, (_, index) => store.blobs.byteAt(tag, start + index)),
  );
  list.add(start, end, `mixed:${bytes.toString('hex')}`);
}
