/**
 * An emulator without a guest, started when first needed: it tells what its binary can do and handles images, so that
 * no other program has to be installed.
 */

import { ErrorCode, isVirtError, VirtError } from '../../src/errors.ts';
import { HELPER_ARGUMENTS } from './arguments.ts';
import type { Dialect } from './dialects/dialect.ts';
import { chooseDialect } from './dialects/index.ts';
import { describeEnd, qmpErrorOf } from './errors.ts';
import type { Emulator, Host } from './host.ts';
import { buildOf, type Probe, type ProbeCache, probe } from './probe.ts';
import { QmpClient } from './qmp-client.ts';
import { StepRunner } from './steps.ts';

/** A running helper. */
export interface HelperSession {
  readonly client: QmpClient;
  readonly probe: Probe;
  readonly dialect: Dialect;
  readonly steps: StepRunner;
}

/** Connects to an emulator that has just been launched; on failure it is terminated and its output quoted. */
export async function connectTo<T>(
  host: Host,
  emulator: Emulator,
  use: (client: QmpClient) => Promise<T>,
): Promise<T> {
  let client: QmpClient | undefined;
  try {
    client = await QmpClient.connect(() => emulator.connect(), { timers: host.timers });
    return await use(client);
  } catch (error) {
    const lostMonitor = client === undefined || client.state !== 'running';
    client?.close();
    await emulator.terminate();
    const output = emulator.output().trim();
    if (!lostMonitor || !(error instanceof VirtError) || qmpErrorOf(error) !== undefined || output === '')
      throw error;
    const end = describeEnd(await emulator.exited, output);
    throw new VirtError(ErrorCode.INTERNAL_ERROR, `${error.detail}: ${end}`, { cause: error });
  }
}

/** The helper of one emulator binary. */
export class Helper {
  readonly #host: Host;
  readonly #binary: string | undefined;
  readonly #probes: ProbeCache;
  #session: Promise<HelperSession> | undefined;
  #emulator: Emulator | undefined;

  constructor(host: Host, binary: string | undefined, probes: ProbeCache) {
    this.#host = host;
    this.#binary = binary;
    this.#probes = probes;
  }

  /** The running helper; starts it if there is none, also after it has died. */
  session(): Promise<HelperSession> {
    if (this.#session === undefined) {
      const session = this.#start();
      this.#session = session;
      const drop = () => {
        if (this.#session === session) this.#session = undefined;
      };
      session.then(({ client }) => client.closed.then(drop), drop);
    }
    return this.#session;
  }

  /** Whether a machine's greeting is that of the binary that was probed; if not, the next session probes anew. */
  async isSameBuild(machine: QmpClient): Promise<boolean> {
    const session = await this.session();
    if (buildOf(machine) === session.probe.build) return true;
    await this.close();
    return false;
  }

  /** Ends the helper. Idempotent. */
  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined);
    session?.client.close();
    await this.#emulator?.terminate();
  }

  /** Launches with the arguments that the binary takes; a refusal is that of today's arguments. */
  async #launch(): Promise<Emulator> {
    const [modern, early] = HELPER_ARGUMENTS;
    try {
      return await this.#host.launch(this.#binary, modern);
    } catch (error) {
      // What cannot be run at all need not be tried again.
      if (!isVirtError(error, ErrorCode.INTERNAL_ERROR)) throw error;
      try {
        return await this.#host.launch(this.#binary, early);
      } catch {
        throw error;
      }
    }
  }

  async #start(): Promise<HelperSession> {
    await this.#emulator?.terminate();
    const emulator = await this.#launch();
    this.#emulator = emulator;
    return connectTo(this.#host, emulator, async (client) => {
      const answers = this.#probes.get(buildOf(client)) ?? (await probe(client));
      this.#probes.set(answers.build, answers);
      const dialect = chooseDialect(answers);
      return {
        client,
        probe: answers,
        dialect,
        steps: new StepRunner(client, dialect, this.#host),
      };
    });
  }
}
