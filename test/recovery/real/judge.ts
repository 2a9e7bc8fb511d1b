/** What has to be true once a pivot was cut off and another management process has looked: pure, so that it can be tested. */

/** What the process after the kill says. */
export interface Found {
  /** The domain still runs. */
  readonly alive: boolean;
  /** Path of its active image. */
  readonly active?: string;
  /** virDomainState. */
  readonly state?: number;
  readonly outcomes?: readonly { readonly outcome: string }[];
}

/** What is known besides. */
export interface Evidence {
  /** Whether the image has every write whose flush was acknowledged. */
  readonly holds: (path: string) => boolean;
  readonly source: string;
  readonly destination: string;
  /** The guest stood still around the pivot. */
  readonly pauses: boolean;
  /** Writes that the guest was promised before the kill. */
  readonly promised: number;
  /** The first process's pivot returned, as an answer or as an error that is not `unknown`. */
  readonly told: boolean;
}

const RUNNING = 1;

/** What is wrong, one line each. */
export function judge(found: Found, evidence: Evidence): string[] {
  const wrong = found.alive ? judgeAlive(found, evidence) : judgeDead(found, evidence);
  if (evidence.promised === 0) wrong.push('the guest never wrote');
  return wrong;
}

function judgeAlive({ active = '', state, outcomes = [] }: Found, evidence: Evidence): string[] {
  const { holds, source, destination } = evidence;
  const wrong: string[] = [];
  if (state !== RUNNING) wrong.push('the guest was left paused');
  if (!holds(active)) wrong.push(`${active} lacks a flushed write`);
  const outcome = outcomes[0]?.outcome;
  if (outcome === 'unknown') wrong.push('unknown while QEMU can be asked');
  const says = { completed: destination, failed: source }[outcome ?? ''];
  if (says !== undefined && says !== active) wrong.push(`${outcome}, but on ${active}`);
  return wrong;
}

function judgeDead(
  { outcomes = [] }: Found,
  { holds, source, destination, pauses, told }: Evidence,
): string[] {
  const [outcome = told ? 'completed' : 'untold'] = outcomes.map((one) => one.outcome);
  switch (outcome) {
    case 'completed':
      return holds(destination) ? [] : ['the destination lacks a flushed write'];
    case 'failed':
      return holds(source) ? [] : ['the source lacks a flushed write'];
    case 'unknown':
      if (pauses) return ['unknown although the guest was paused'];
      return holds(source) || holds(destination) ? [] : ['neither image holds it all'];
    default:
      return [`nobody tells what became of the pivot (${outcome})`];
  }
}
