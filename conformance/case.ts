/** One case: a session opened, a check run against it under a deadline, and everything put away again. */
import { isVirtError } from '../src/index.ts';
import { recordApi } from './api-trace.ts';
import type { Canary } from './canary.ts';
import { DeadlineViolation, Violation } from './expect.ts';
import type { Session, Target } from './target.ts';
import type { DirtySample } from './timeline.ts';
import { World } from './world.ts';

const DEFAULT_DEADLINE_MS = 60_000;
/** Real time after which a case is given up even though the session's own clock stands still. */
const WATCHDOG_MS = 60_000;

/** What a case is run with. */
export interface CaseOptions {
  readonly seed: number;
  readonly canary?: Canary;
  /** Has the target look at the progress of copies, where it can. */
  readonly watch?: boolean;
  /** Gets the trace of the case: the wire's where the target keeps one, otherwise the API's. */
  readonly onTrace?: (trace: string, dirty?: readonly DirtySample[]) => void;
}

/** Runs one check in a session of its own; rejects with what broke it. */
export async function runCase(
  target: Target,
  { seed, canary, watch, onTrace }: CaseOptions,
  check: (world: World) => Promise<void>,
): Promise<void> {
  const session = await target.open({
    seed,
    ...(canary?.wire ? { wire: canary.wire } : {}),
    ...(onTrace ? { trace: true } : {}),
    ...(watch ? { watch } : {}),
  });
  const failures: unknown[] = [];
  const note = (error: unknown) => void failures.push(error);
  const deadlineMs = target.caseDeadlineMs ?? DEFAULT_DEADLINE_MS;
  const recorder = onTrace && !session.trace ? recordApi(session.connection) : undefined;
  const checked = new Promise<void>((resolve) => {
    const connection = recorder?.connection ?? session.connection;
    resolve(check(new World(session, canary?.api, canary?.api?.(connection) ?? connection)));
  });
  await withDeadlines(session, deadlineMs, 'the case', checked).catch(note);
  onTrace?.(session.trace?.() ?? recorder?.trace() ?? '', session.dirty?.());
  const ended = session.dispose();
  await withDeadlines(session, DEFAULT_DEADLINE_MS, "the end of the case's session", ended).catch(note);
  // What the check found says more than the trouble that it left behind.
  if (failures.length > 0) throw failures[0];
}

/** Whether an error says that the backend broke its contract, as opposed to the suite being at fault. */
export function isBackendsFault(error: unknown): boolean {
  return error instanceof Violation || isVirtError(error);
}

/** Gives up on a promise by the session's clock, or by the wall's where that stands still. */
async function withDeadlines(
  session: Session,
  deadlineMs: number,
  what: string,
  work: Promise<void>,
): Promise<void> {
  let stop: () => void = () => {};
  const late = new Promise<never>((_, reject) => {
    const cancel = session.connection.timers.after(deadlineMs, () =>
      reject(new DeadlineViolation(`${what} took longer than ${deadlineMs} ms`)),
    );
    const watchdog = setTimeout(
      () => reject(new DeadlineViolation(`${what} hung for ${WATCHDOG_MS} ms of real time`)),
      WATCHDOG_MS,
    );
    stop = () => {
      cancel();
      clearTimeout(watchdog);
    };
  });
  try {
    await Promise.race([work, late]);
  } finally {
    stop();
  }
}
