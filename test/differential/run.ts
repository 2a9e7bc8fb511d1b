/** Runs many random scripts on both sides, and shrinks what differs. */
import fc from 'fast-check';
import { type Divergence, diverges, explain, signature } from './compare.ts';
import { featuresNamed } from './features.ts';
import { scriptsWith } from './generate.ts';
import { entryFor, type LedgerEntry } from './ledger.ts';
import type { Options } from './options.ts';
import { RealPlace } from './real.ts';
import { PLACE, pasteable, type Script } from './script.ts';
import { shrink } from './shrink.ts';
import { runSimulated } from './simulated.ts';
import { agreesAtLast } from './steadiness.ts';

/** One kind of difference, told by its smallest script. */
export interface Finding {
  /** Number of the first script that showed it, from 0. */
  readonly script: number;
  /** How many scripts of the run showed it. */
  readonly count: number;
  readonly explanation: string;
  readonly smallest: Script;
  /** Shell text. */
  readonly paste: string;
}

/** A kind of difference that the real one shows against itself: run again, it did what the simulation does. */
export interface Unsteady {
  /** Number of the first script that showed it, from 0. */
  readonly script: number;
  readonly count: number;
  /** Its signature. */
  readonly sign: string;
}

/** What a run has found. */
export interface Outcome {
  readonly scripts: number;
  readonly commands: number;
  /** Scripts that differ outside the ledger. */
  readonly diverging: number;
  readonly findings: readonly Finding[];
  /** What the real one does now so, now so. */
  readonly unsteady: readonly Unsteady[];
  /** How many were to be run. */
  readonly planned: number;
  /** How long the scripts took, without the shrinking. */
  readonly seconds: number;
  /** How many scripts fell under each entry of the ledger; 0: the entry no longer occurs. */
  readonly ledger: readonly {
    readonly entry: LedgerEntry;
    readonly count: number;
    /** Their numbers. */
    readonly scripts: readonly number[];
  }[];
}

const MAX_FINDINGS = 20;
const PROGRESS_EVERY = 100;

interface Found {
  readonly script: number;
  count: number;
}

class Run {
  readonly #options: Options;
  readonly #ledger: readonly LedgerEntry[];
  readonly #drawing: fc.Arbitrary<Script>;
  readonly #scripts: readonly Script[];
  readonly #found = new Map<string, Found>();
  readonly #unsteady = new Map<string, Found>();
  readonly #hits = new Map<LedgerEntry, number[]>();
  #next = 0;
  #done = 0;
  #nextFinding = 0;
  #diverging = 0;

  constructor(options: Options, ledger: readonly LedgerEntry[]) {
    this.#options = options;
    this.#ledger = ledger;
    this.#drawing = scriptsWith(featuresNamed(options.features));
    this.#scripts = Array.from({ length: options.scripts }, (_, index) => this.#draw(index));
  }

  async perform(): Promise<Outcome> {
    const startedMs = Date.now();
    await Promise.all(Array.from({ length: this.#options.workers }, () => this.#work()));
    const seconds = (Date.now() - startedMs) / 1000;
    const findings = await this.#shrinkAll();
    return {
      scripts: this.#done,
      planned: this.#scripts.length,
      commands: this.#scripts.slice(0, this.#done).reduce((sum, { steps }) => sum + steps.length, 0),
      diverging: this.#diverging,
      findings,
      unsteady: [...this.#unsteady].map(([sign, { script, count }]) => ({ sign, script, count })),
      seconds,
      ledger: this.#ledger.map((entry) => {
        const hits = this.#hits.get(entry) ?? [];
        return { entry, count: hits.length, scripts: hits.toSorted((a, b) => a - b) };
      }),
    };
  }

  // Each script has a seed of its own, so that it can be drawn, and shrunk, alone.
  #seedOf(index: number): number {
    return (this.#options.seed * 1_000_003 + index) | 0;
  }

  #draw(index: number): Script {
    const [script] = fc.sample(this.#drawing, { seed: this.#seedOf(index), numRuns: 1 });
    return script ?? { world: 'nodes', steps: [] };
  }

  async #work(): Promise<void> {
    const place = new RealPlace(this.#options.qemu);
    const { minutes } = this.#options;
    const untilMs = minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + minutes * 60_000;
    try {
      while (this.#next < this.#scripts.length && Date.now() < untilMs) {
        const index = this.#next++;
        const script = this.#scripts[index];
        const divergence = script && (await this.#compare(place, script));
        if (divergence) await this.#note(place, index, script, divergence);
        this.#tellProgress();
      }
    } finally {
      place.close();
    }
  }

  #tellProgress(): void {
    this.#done++;
    if (this.#done % PROGRESS_EVERY !== 0) return;
    process.stderr.write(`${this.#done} of ${this.#scripts.length}, ${this.#diverging} diverging\n`);
  }

  async #note(place: RealPlace, index: number, script: Script, divergence: Divergence): Promise<void> {
    const entry = entryFor(this.#ledger, divergence);
    if (entry) {
      this.#hits.set(entry, [...(this.#hits.get(entry) ?? []), index]);
      return;
    }
    const isUnsteady = await agreesAtLast(divergence, () => this.#compare(place, script));
    if (!isUnsteady) this.#diverging++;
    const kinds = isUnsteady ? this.#unsteady : this.#found;
    const sign = signature(divergence);
    const found = kinds.get(sign);
    if (found) found.count++;
    else kinds.set(sign, { script: index, count: 1 });
    process.stderr.write(`script ${index}${isUnsteady ? ' (unsteady)' : ''}: ${sign}\n`);
  }

  /** The difference that a script shows, whether the ledger has it or not. */
  async #compare(place: RealPlace, script: Script): Promise<Divergence | undefined> {
    const here = JSON.parse(JSON.stringify(script).replaceAll(`${PLACE}/`, `${place.directory}/`)) as Script;
    const real = await place.run(here);
    const { profile } = this.#options;
    return diverges(here, profile, real, runSimulated(here, profile, place.directory));
  }

  async #shrinkAll(): Promise<readonly Finding[]> {
    const kinds = [...this.#found].slice(0, MAX_FINDINGS);
    const findings: Finding[] = [];
    const work = async (): Promise<void> => {
      const place = new RealPlace(this.#options.qemu);
      try {
        for (let index = this.#nextFinding++; index < kinds.length; index = this.#nextFinding++) {
          const [sign, found] = kinds[index] ?? [];
          if (sign !== undefined && found) findings[index] = await this.#shrink(place, sign, found);
        }
      } finally {
        place.close();
      }
    };
    await Promise.all(Array.from({ length: this.#options.workers }, work));
    return findings;
  }

  async #shrink(place: RealPlace, sign: string, { script: index, count }: Found): Promise<Finding> {
    const script = this.#scripts[index] ?? { world: 'nodes', steps: [] };
    let shown: Divergence | undefined;
    const shows = async (candidate: Script): Promise<boolean> => {
      const divergence = await this.#compare(place, candidate);
      if (!divergence || signature(divergence) !== sign) return false;
      shown = divergence;
      return true;
    };
    const step = (await shows(script)) ? stepOf(shown) : undefined;
    const smallest = await shrink(script, step ?? script.steps.length, shows);
    const explanation = shown ? explain(shown) : `${sign}\n(not seen again: timing)`;
    return { script: index, count, explanation, smallest, paste: pasteable(smallest, this.#options.qemu) };
  }
}

/** The number of the step at which the sides parted, from 1; undefined: later. */
function stepOf(divergence: Divergence | undefined): number | undefined {
  const [, number] = /^step (\d+) /.exec(divergence?.place ?? '') ?? [];
  return number === undefined ? undefined : Number(number);
}

/** Runs the scripts of a seed. */
export const runDifferential = (options: Options, ledger: readonly LedgerEntry[]): Promise<Outcome> =>
  new Run(options, ledger).perform();
