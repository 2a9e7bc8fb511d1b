/** Runs scripts on a real QEMU binary. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { layerText, readLayer } from './qcow2.ts';
import type { Script, Step } from './script.ts';
import {
  type FileRecord,
  GRAPH_QUERIES,
  JOB_QUERIES,
  Normaliser,
  type StepRecord,
  type Transcript,
} from './transcript.ts';
import { FILE_NAMES, IMAGES, launchArgv, makeRealImages } from './worlds.ts';

type Message = Record<string, unknown>;

const CONNECT_RETRY_MS = 2;
const REST_POLL_MS = 3;
// An idle mirror looks for new work every 100 ms.
const MIRROR_TICK_MS = 120;
const MAX_UNPLUG_POLLS = 1000;
const MAX_REST_POLLS = 3000;
const MAX_SILENCE_MS = 20_000;

/** A place for scripts to run in, one at a time: the image files are made once and copied for each script. */
export class RealPlace {
  readonly directory: string;
  readonly #qemu: string;
  readonly #templates: string;
  readonly #contents = new Map<string, Buffer>();
  /** What is in the directory beside the images: no script changes it. */
  readonly #kept: ReadonlySet<string>;

  constructor(qemu: string) {
    this.#qemu = qemu;
    this.#templates = mkdtempSync(join(tmpdir(), 'differential-'));
    this.directory = join(this.#templates, 'run');
    mkdirSync(this.directory);
    makeRealImages(this.directory, { img: beside(qemu, 'qemu-img'), io: beside(qemu, 'qemu-io') });
    for (const { name } of IMAGES) this.#contents.set(name, readFileSync(join(this.directory, name)));
    this.#kept = new Set(readdirSync(this.directory).filter((name) => !this.#contents.has(name)));
  }

  /** The transcript of a script. */
  async run(script: Script): Promise<Transcript> {
    for (const name of readdirSync(this.directory)) {
      if (!this.#kept.has(name)) rmSync(join(this.directory, name), { recursive: true });
    }
    for (const [name, content] of this.#contents) writeSparse(join(this.directory, name), content);
    const process = await RealProcess.start(this.#qemu, script, this.directory);
    try {
      const seen = await process.perform(script);
      // What a process that had to be killed would have written, nobody knows.
      return { ...seen, files: process.hangs ? [] : this.#files() };
    } finally {
      await process.kill();
    }
  }

  /** Removes what the place has made. */
  close(): void {
    rmSync(this.#templates, { recursive: true, force: true });
  }

  #files(): FileRecord[] {
    const normaliser = new Normaliser(this.directory);
    return FILE_NAMES.filter((name) => existsSync(join(this.directory, name))).map((name) => ({
      name,
      text: normaliser.text(layerText(readLayer(join(this.directory, name)))),
    }));
  }
}

const BLOCK_BYTES = 4096;
const ZEROES = Buffer.alloc(BLOCK_BYTES);

/** Writes a file with the holes that qemu-img leaves: everything that is zero but the first block. */
function writeSparse(path: string, content: Buffer): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, content.length);
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    if (at === 0 || !block.equals(ZEROES.subarray(0, block.length)))
      writeSync(file, block, 0, block.length, at);
  }
  closeSync(file);
}

/** A tool of the same build, or else the one on the PATH. */
function beside(qemu: string, tool: string): string {
  const path = join(dirname(qemu), tool);
  return existsSync(path) ? path : tool;
}

/** One process and its only client. */
class RealProcess {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #directory: string;
  readonly #exited: Promise<unknown>;
  #stdout = '';
  #text = '';
  #heard: Message[] = [];
  readonly #answers = new Map<number, (message: Message) => void>();
  #ids = 0;
  #ended = false;
  /** A command was never answered. */
  hangs = false;
  readonly #unplugging = new Set<string>();

  private constructor(child: ChildProcess, socket: Socket, directory: string) {
    this.#child = child;
    this.#socket = socket;
    this.#directory = directory;
    this.#exited = new Promise((resolve) => child.once('close', resolve));
    child.stdout?.on('data', (bytes: Buffer) => {
      this.#stdout += bytes.toString();
    });
    socket.on('data', (bytes) => this.#take(bytes.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      for (const answer of this.#answers.values()) answer({});
    });
  }

  static async start(qemu: string, script: Script, directory: string): Promise<RealProcess> {
    const path = join(directory, 'qmp');
    rmSync(path, { force: true });
    const argv = [...launchArgv(script.world, directory), '-qmp', `unix:${path},server=on,wait=off`];
    const child = spawn(qemu, argv, { stdio: ['ignore', 'pipe', 'pipe'], cwd: directory });
    let stderr = '';
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${qemu} did not start: ${stderr}`);
      const socket = await tryConnect(path);
      if (!socket) {
        await delay(CONNECT_RETRY_MS);
        continue;
      }
      const process = new RealProcess(child, socket, directory);
      await process.#send({ execute: 'qmp_capabilities' });
      process.#heard = [];
      return process;
    }
  }

  async perform(script: Script): Promise<Omit<Transcript, 'files'>> {
    const normaliser = new Normaliser(this.#directory);
    const lines = (messages: readonly Message[]) => messages.map((message) => normaliser.value(message));
    const query = async (execute: string) => lines([await this.#ask(execute)]).join('\n');
    const steps: StepRecord[] = [];
    for (const step of script.steps) {
      if (!this.#ended) await this.#send(step);
      if (!this.#ended) await this.#rest(step);
      const heard = lines(this.#drain());
      const jobs: string[] = [];
      for (const each of this.#ended ? [] : JOB_QUERIES) jobs.push(await query(each));
      steps.push({ heard, jobs });
    }
    const graph: string[] = [];
    for (const each of this.#ended ? [] : GRAPH_QUERIES) graph.push(await query(each));
    if (!this.#ended) await this.#send({ execute: 'quit' });
    if (this.hangs) return { steps, graph, end: lines([{ hangs: true }]), stdout: '' };
    await this.#exited;
    if (this.#child.signalCode !== null) this.#heard.push({ died: this.#child.signalCode });
    const end = lines(this.#drain());
    return { steps, graph, end, stdout: normaliser.output(this.#stdout) };
  }

  async kill(): Promise<void> {
    this.#socket.destroy();
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #drain(): Message[] {
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  /** Sends a command whose reply is part of the transcript. */
  async #send(step: Step): Promise<void> {
    const message = await this.#request(step);
    if (message !== undefined) return;
    this.#heard.push({ silent: true });
    this.hangs = true;
    this.#ended = true;
  }

  /** Asks something that is not part of the script. */
  async #ask(execute: string): Promise<Message> {
    const message = (await this.#request({ execute })) ?? {};
    this.#heard = this.#heard.filter((each) => each !== message);
    return message;
  }

  async #request(step: Step): Promise<Message | undefined> {
    const id = ++this.#ids;
    const answer = new Promise<Message>((resolve) => this.#answers.set(id, resolve));
    if (this.#ended) return undefined;
    this.#socket.write(JSON.stringify({ ...step, id }));
    const timeout = new AbortController();
    const silence = delay(MAX_SILENCE_MS, undefined, { signal: timeout.signal }).catch(() => undefined);
    const message = await Promise.race([answer, silence]);
    timeout.abort();
    this.#answers.delete(id);
    return message;
  }

  /** Waits until no job moves: each waits for somebody, or sleeps for a long time. */
  async #rest({ execute, arguments: args }: Step): Promise<void> {
    // A device is freed a grace period after the reset that lets it go.
    this.#noteUnplug(execute, args);
    for (
      let polls = 0;
      execute === 'system_reset' && this.#isUnplugging() && polls < MAX_UNPLUG_POLLS;
      polls++
    )
      await delay(REST_POLL_MS);
    const doesIo = execute === 'human-monitor-command' && JSON.stringify(args).includes('qemu-io');
    const mayDirty = doesIo || execute === 'block-job-change';
    let before = '';
    let same = 0;
    for (let polls = 0; polls < MAX_REST_POLLS && !this.#ended; polls++) {
      const jobs = (await this.#ask('query-jobs')).return as readonly Message[] | undefined;
      if (!jobs || jobs.length === 0) return;
      const block = ((await this.#ask('query-block-jobs')).return ?? []) as readonly Message[];
      const now = JSON.stringify([jobs, block]);
      same = now === before && jobs.every((job) => isAtRest(job, block)) ? same + 1 : 0;
      if (same >= restPolls(block)) return;
      before = now;
      const ticks = polls === 0 && mayDirty && block.some(({ status }) => status === 'ready');
      await delay(ticks ? MIRROR_TICK_MS : REST_POLL_MS);
    }
    if (!this.#ended) this.#heard.push({ restless: true });
  }

  /** Remembers that a device was asked to go. */
  #noteUnplug(execute: string, args: Step['arguments']): void {
    const accepted = this.#heard.some((message) => 'return' in message);
    if (execute === 'device_del' && accepted) this.#unplugging.add(String(args?.id));
  }

  /** Whether a device that was asked to go has not gone. */
  #isUnplugging(): boolean {
    for (const { event, data } of this.#heard) {
      if (event === 'DEVICE_DELETED') this.#unplugging.delete(String((data as Message).device));
    }
    return this.#unplugging.size > 0 && !this.#ended;
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\r\n'); end >= 0; end = this.#text.indexOf('\r\n')) {
      const message = JSON.parse(this.#text.slice(0, end)) as Message;
      this.#text = this.#text.slice(end + 2);
      if ('QMP' in message) continue;
      const { id, ...rest } = message;
      this.#heard.push(rest);
      if (typeof id === 'number') this.#answers.get(id)?.(rest);
    }
  }
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(undefined));
  });
}

// A copy that sleeps off its debt may still have requests in flight, above all those that it began with.
function restPolls(block: readonly Message[]): number {
  const running = block.filter(({ status }) => status === 'running');
  if (running.some(({ len, offset }) => offset === 0 && len !== 0)) return 25;
  return running.length > 0 ? 6 : 1;
}

const WAITING = new Set(['paused', 'standby', 'waiting', 'pending', 'concluded']);

function isAtRest(job: Message, block: readonly Message[]): boolean {
  if (WAITING.has(String(job.status))) return true;
  const twin = block.find(({ device }) => device === job.id);
  if (job.status === 'ready') return twin?.busy === false && twin.len === twin.offset;
  return job.status === 'running' && twin?.busy === false;
}
