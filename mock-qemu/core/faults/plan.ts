/** Fault plans: a JSON list of faults, checked strictly, because a plan that is not understood tests nothing. */
import type { Data, Value } from '../data.ts';
import { ERRNO, type Errno } from '../errno.ts';
import {
  type Action,
  actionsAt,
  FAULT_ACTIONS,
  FAULT_POINTS,
  type FaultAction,
  type FaultPoint,
  isPossible,
  type PointKind,
} from './points.ts';

/** One fault. Counts, times and bytes are whole numbers from 0. */
export interface Fault {
  readonly at: FaultPoint;
  readonly do: FaultAction;
  /** How often the point is passed unharmed before; 0 when left out. */
  readonly after?: number;
  /** How often it happens; always from then on when left out. */
  readonly times?: number;
  /** Only from this moment on, in nanoseconds since the process started; for `at-time` the moment itself. */
  readonly atNs?: number;
  /** Only before this moment. */
  readonly untilNs?: number;
  readonly errno?: Errno;
  readonly delayNs?: number;
  /** Only requests that touch this byte of the disk. */
  readonly offset?: number;
  /** Only requests that reach the node of this name. */
  readonly node?: string;
  /** Only this command, by its QMP name. */
  readonly command?: string;
  /** Only this event. */
  readonly event?: string;
  readonly bytes?: number;
  readonly code?: number;
}

/** A plan that cannot be carried out; the message is one line. */
export class FaultPlanError extends Error {
  override name = 'FaultPlanError';
}

interface Member {
  readonly type: 'number' | 'string' | 'errno';
  readonly says: string;
  /** The kinds of points whose faults can have it; left out: all, or what the action says. */
  readonly at?: readonly PointKind[];
  /** Belongs to the actions that name it. */
  readonly ofAction?: boolean;
}

/** Every member besides `at` and `do`. */
export const FAULT_MEMBERS: Readonly<Record<string, Member>> = {
  after: { type: 'number', says: 'How often the point is passed unharmed before; 0 when left out.' },
  times: { type: 'number', says: 'How often it happens; every time from then on when left out.' },
  atNs: {
    type: 'number',
    says: 'Only from this moment on, in nanoseconds since the process started; for `at-time` the moment itself.',
  },
  untilNs: { type: 'number', says: 'Only before this moment.' },
  offset: { type: 'number', says: 'Only requests that touch this byte of the disk.', at: ['io'] },
  node: { type: 'string', says: 'Only requests that reach the node of this name.', at: ['io'] },
  command: { type: 'string', says: 'Only this QMP command.', at: ['command', 'reply'] },
  event: { type: 'string', says: 'Only this event.', at: ['event'] },
  errno: { type: 'errno', says: 'The symbolic name of a system error.', ofAction: true },
  delayNs: { type: 'number', says: 'Nanoseconds.', ofAction: true },
  bytes: { type: 'number', says: 'Bytes that get through.', ofAction: true },
  code: { type: 'number', says: 'Exit status.', ofAction: true },
};

const fail = (message: string): never => {
  throw new FaultPlanError(message);
};

const isObject = (value: Value | undefined): value is Data =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a plan; throws a {@link FaultPlanError} that names what is wrong and lists what would be right. */
export function parseFaultPlan(plan: Value | undefined): Fault[] {
  if (!Array.isArray(plan)) return fail('a fault plan is a list of faults');
  return plan.map((item, index) => parseFault(item, `fault ${index + 1}`));
}

function parseFault(item: Value | undefined, where: string): Fault {
  if (!isObject(item)) return fail(`${where}: a fault is an object like {"at": POINT, "do": ACTION}`);
  const at = oneOf(item.at, FAULT_POINTS, `${where}: unknown point`, 'points');
  const action = oneOf(item.do, FAULT_ACTIONS, `${where}: unknown action`, `actions at ${at}`, actionsAt(at));
  if (!isPossible(action, at)) {
    return fail(`${where}: '${action}' is not possible at ${at}; actions there: ${actionsAt(at).join(', ')}`);
  }
  const allowed = membersOf(at, action);
  for (const [name, value] of Object.entries(item)) {
    if (name !== 'at' && name !== 'do') checkMember(name, value, allowed, where);
  }
  for (const name of neededBy(at, action)) {
    if (item[name] === undefined) fail(`${where}: '${action}' at ${at} needs ${name}`);
  }
  return { ...item, at, do: action } as Fault;
}

function oneOf<T extends string>(
  value: Value | undefined,
  table: Readonly<Record<T, unknown>>,
  complaint: string,
  what: string,
  valid: readonly string[] = Object.keys(table),
): T {
  if (typeof value === 'string' && Object.hasOwn(table, value)) return value as T;
  return fail(`${complaint} ${JSON.stringify(value ?? null)}; ${what}: ${valid.join(', ')}`);
}

/** The members that a fault can have besides `at` and `do`. */
export function membersOf(at: FaultPoint, action: FaultAction): string[] {
  const { members = [] }: Action = FAULT_ACTIONS[action];
  const { kind } = FAULT_POINTS[at];
  return Object.entries(FAULT_MEMBERS)
    .filter(([name, member]) =>
      member.ofAction ? members.includes(name) : (member.at?.includes(kind) ?? true),
    )
    .map(([name]) => name);
}

function neededBy(at: FaultPoint, action: FaultAction): readonly string[] {
  const { needs = [] }: Action = FAULT_ACTIONS[action];
  return at === 'at-time' ? [...needs, 'atNs'] : needs;
}

function checkMember(
  name: string,
  value: Value | undefined,
  allowed: readonly string[],
  where: string,
): void {
  const member = FAULT_MEMBERS[name];
  if (member === undefined || !allowed.includes(name)) {
    fail(`${where}: member '${name}' is unknown here; members: at, do, ${allowed.join(', ')}`);
  } else if (member.type === 'errno') oneOf<Errno>(value, ERRNO, `${where}: unknown errno`, 'errnos');
  else if (member.type === 'string' && typeof value !== 'string') fail(`${where}: ${name} is a text`);
  else if (member.type === 'number' && !(Number.isSafeInteger(value) && Number(value) >= 0)) {
    fail(`${where}: ${name} is a whole number from 0`);
  }
}
