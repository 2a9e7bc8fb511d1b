/** Carries out a dialect's steps: each is done in order, and taken back in reverse if a later one fails. */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { Timers } from '../../src/util/timers.ts';
import type { Dialect, JobSignal, Query, Step, Verdict } from './dialects/dialect.ts';
import { qmpErrorOf, systemError, systemErrorCode } from './errors.ts';
import type { Host, HostFiles } from './host.ts';
import { Steadiness } from './job-watch.ts';
import type { QmpClient } from './qmp-client.ts';
import type { QmpCall } from './qmp-json.ts';
import { Turns } from './turns.ts';

/** Takes steps back, last first; resolves to the first error met, after all have been tried. */
export type Undo = () => Promise<unknown>;

type Reversal = () => Promise<unknown>;

/** Runs steps over one connection. */
export class StepRunner {
  readonly #client: QmpClient;
  readonly #dialect: Dialect;
  readonly #files: HostFiles;
  readonly #timers: Timers;
  readonly #nodes = new Turns();
  readonly #creations = new Map<string, (ended: { readonly verdict?: Verdict } | VirtError) => void>();

  constructor(client: QmpClient, dialect: Dialect, { files, timers }: Pick<Host, 'files' | 'timers'>) {
    this.#client = client;
    this.#dialect = dialect;
    this.#files = files;
    this.#timers = timers;
    client.onEvent((event) => {
      const signal = dialect.signal(event);
      if (signal?.type === 'concluded') this.#onConcluded(signal);
    });
    void client.closed.then((cause) => this.#onLost(cause));
  }

  /** Does all steps, or none: rejects with the error of the step that failed, after taking back those before it. */
  async run(steps: readonly Step[]): Promise<Undo> {
    const reversals: Reversal[] = [];
    const undo = () => takeBack(reversals);
    try {
      for (const step of steps) {
        const reversal = await this.#do(step);
        if (reversal !== undefined) reversals.push(reversal);
      }
      return undo;
    } catch (error) {
      await undo();
      throw error;
    }
  }

  /** Sends a query and reads its reply. */
  async ask<T>(query: Query<T>): Promise<T> {
    const send = () => this.#client.call(query.call);
    return query.read(await (query.walksNodes ? this.#nodes.take(send) : send()));
  }

  async #do(step: Step): Promise<Reversal | undefined> {
    if (step.do === 'create-file') return this.#createFile(step);
    if (step.do === 'job' || step.do === 'settle') {
      await (step.do === 'job' ? this.#create(step) : this.#settle(step));
      return undefined;
    }
    try {
      await this.#client.call(step.call);
    } catch (error) {
      if (step.tolerated && qmpErrorOf(error) !== undefined) return undefined;
      throw error;
    }
    const { undo } = step;
    return undo && (() => this.#client.call(undo));
  }

  async #settle({ key, everyMs, forMs }: Extract<Step, { do: 'settle' }>): Promise<void> {
    const steadiness = new Steadiness(forMs);
    for (;;) {
      const job = (await this.ask(this.#dialect.jobs())).find((report) => report.key === key);
      // A job that has ended is the next step's business.
      if (job === undefined || steadiness.look(job, this.#timers.now())) return;
      const pause = Promise.withResolvers<void>();
      this.#timers.after(everyMs, () => pause.resolve());
      await pause.promise;
    }
  }

  async #createFile({
    path,
    failure = 'failed to create copy target',
  }: Extract<Step, { do: 'create-file' }>): Promise<Reversal | undefined> {
    const files = this.#files;
    try {
      // An empty file is as good as none; whether any other may be there has been decided above the driver.
      if ((await files.stat(path)) !== undefined) return undefined;
      await files.createEmpty(path);
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return undefined;
      throw systemError(failure, error);
    }
    return () => files.remove(path);
  }

  async #create({ key, call }: Extract<Step, { do: 'job' }>): Promise<void> {
    // QEMU 7.2 aborts when its nodes are listed while it formats a qcow2: one of them is only half there then.
    const ended = await this.#nodes.take(() => this.#runCreation(key, call));
    if (ended instanceof VirtError) throw ended;
    const verdict = ended.verdict ?? (await this.ask(this.#dialect.verdict(key)));
    await this.run(this.#dialect.settleCreation(key));
    if (verdict.error !== undefined) {
      throw new VirtError(ErrorCode.OPERATION_FAILED, `failed to format image: '${verdict.error}'`);
    }
  }

  async #runCreation(key: string, call: QmpCall): Promise<{ readonly verdict?: Verdict } | VirtError> {
    const { promise, resolve } = Promise.withResolvers<{ readonly verdict?: Verdict } | VirtError>();
    this.#creations.set(key, resolve);
    try {
      await this.#client.call(call);
    } catch (error) {
      this.#creations.delete(key);
      throw error;
    }
    return promise;
  }

  #onConcluded(signal: Extract<JobSignal, { type: 'concluded' }>): void {
    const settle = this.#creations.get(signal.key);
    this.#creations.delete(signal.key);
    settle?.(signal);
  }

  #onLost(cause: VirtError | undefined): void {
    const waiting = [...this.#creations.values()];
    this.#creations.clear();
    const detail = `${cause?.detail ?? 'the monitor connection was closed from this side'} while an image was created`;
    for (const settle of waiting) {
      settle(new VirtError(ErrorCode.INTERNAL_ERROR, detail, { outcome: 'unknown', cause }));
    }
  }
}

async function takeBack(reversals: Reversal[]): Promise<unknown> {
  let first: unknown;
  for (let reversal = reversals.pop(); reversal !== undefined; reversal = reversals.pop()) {
    try {
      await reversal();
    } catch (error) {
      first ??= error;
    }
  }
  return first;
}
