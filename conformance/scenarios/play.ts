/** Plays: scenarios in which an application has a part. The right one gets through, the wrong ones are found out. */
import { type Contract, example } from '../contract.ts';
import { DeadlineViolation } from '../expect.ts';
import type { Capability } from '../target.ts';
import type { WireMessage } from '../wire.ts';
import type { World } from '../world.ts';

/** An application that does what people did. */
export interface WrongApplication<App> {
  /** Short, e.g. `trusts-the-poll`. */
  readonly name: string;
  /** What it does wrong, as a clause. */
  readonly does: string;
  readonly app: App;
}

/** A play as it is written. */
export interface PlaySpec<App> {
  /** Below the scenario's name, e.g. `guest-slows-down`. */
  readonly id: string;
  readonly title: string;
  readonly needs: readonly Capability[];
  /** What the stage looks like: sizes, rates, times, faults. {@link run} is given it. */
  readonly stage: WireMessage;
  /** What a correct application does. */
  readonly right: App;
  readonly wrong: readonly WrongApplication<App>[];
  /** Plays it with an application; breaks the contract where that is taken in. */
  run(world: World, app: App): Promise<void>;
}

/** A play, ready to be run. */
export interface Play {
  readonly title: string;
  readonly stage: WireMessage;
  /** Holds with the right application. */
  readonly contract: Contract;
  /** Each has to fail. */
  readonly wrong: readonly { readonly name: string; readonly does: string; readonly contract: Contract }[];
}

/** Makes a play of a scenario. */
export function play<App>(scenario: string, source: string, spec: PlaySpec<App>): Play {
  const { id, title, needs, stage, right, wrong, run } = spec;
  const with_ = (app: App, suffix = ''): Contract =>
    example({
      id: `scenario/${scenario}/${id}${suffix}`,
      title,
      source,
      needs,
      check: (world) => run(world, app),
    });
  return {
    title,
    stage,
    contract: with_(right),
    wrong: wrong.map(({ name, does, app }) => ({ name, does, contract: with_(app, `/${name}`) })),
  };
}

/** Waits for an application; one that does not come back in time has failed. */
export async function untilDone<T>(world: World, work: Promise<T>, patienceMs: number): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = world.timers.after(patienceMs, () =>
      reject(new DeadlineViolation(`the application has not come to an end within ${patienceMs} ms`)),
    );
  });
  return Promise.race([work, late]).finally(() => cancel());
}

/** So many ms of the target's clock. */
export function sleep(world: World, ms: number): Promise<void> {
  return new Promise((resolve) => void world.timers.after(ms, resolve));
}
