/** Orders in which a real QEMU may tell the same things, by name: both sides are brought into one of them. */
import type { Step } from './script.ts';

/** One freedom: what it is, why it is free, and how lines are put into one order. */
export interface FreeOrder {
  readonly name: string;
  readonly why: string;
  /** Only for this profile. */
  readonly profile?: string;
  /** Only after these commands: all of a script up to the one that was sent last. */
  readonly after?: (steps: readonly Step[]) => boolean;
  readonly fix: (lines: readonly string[]) => readonly string[];
}

/** Puts a reply behind everything else, where one of the lines matches. */
function replyLast(pattern: RegExp): FreeOrder['fix'] {
  return (lines) => {
    if (!lines.some((line) => pattern.test(line))) return lines;
    const isReply = (line: string) => line.startsWith('{"return"');
    return [...lines.filter((line) => !isReply(line)), ...lines.filter(isReply)];
  };
}

/** Puts the reply behind everything else, where a job was started and one of the lines matches. */
function startReplyLast(pattern: RegExp): FreeOrder['fix'] {
  return (lines) => {
    const starts = lines.some((line) => line.includes('"status":"created"'));
    if (!starts || !lines.some((line) => pattern.test(line))) return lines;
    const isReply = (line: string) => line.startsWith('{"return"');
    return [...lines.filter((line) => !isReply(line)), ...lines.filter(isReply)];
  };
}

const STATUS = /^\{"data":\{"id":"([^"]+)","status":"(\w+)"\}/;
const LET_GO: Readonly<Record<string, string>> = { paused: 'running', standby: 'ready' };

/** Drops each pause whose end is the next thing that is heard of the job. */
function withoutFlaps(lines: readonly string[]): readonly string[] {
  const kept = [...lines];
  for (let index = 0; index < kept.length; ) {
    const [, id, status = ''] = STATUS.exec(kept[index] ?? '') ?? [];
    const next = kept.findIndex((line, at) => at > index && id !== undefined && line.includes(`"${id}"`));
    const [, , then] = STATUS.exec(kept[next] ?? '') ?? [];
    if (then !== undefined && LET_GO[status] === then) {
      kept.splice(next, 1);
      kept.splice(index, 1);
      index = 0;
    } else index++;
  }
  return kept;
}

/** Whether the last step copies to or from a node that an earlier one has made of no file. */
function mirrorsNull(steps: readonly Step[]): boolean {
  const { execute, arguments: args } = steps.at(-1) ?? { execute: '' };
  const made = steps.filter(
    ({ execute: added, arguments: options }) =>
      added === 'blockdev-add' && String(options?.driver).startsWith('null-'),
  );
  const names = made.map((step) => step.arguments?.['node-name']);
  return execute === 'blockdev-mirror' && (names.includes(args?.target) || names.includes(args?.device));
}

/** The table. */
export const FREE_ORDERS: readonly FreeOrder[] = [
  {
    name: 'flaps',
    why: 'every change of the graph holds all jobs still, as often as it takes; how often is no contract',
    profile: 'qemu-10.0',
    fix: withoutFlaps,
  },
  {
    name: 'empty-mirror-ready',
    why: 'a mirror with nothing to copy is ready before or after its reply, as its target answers the first look',
    fix: replyLast(/"len":0,.*"BLOCK_JOB_READY"/),
  },
  {
    name: 'null-mirror-ready',
    why: 'a mirror waits for no file on a side that has none: its first pass ends before or after its reply',
    after: mirrorsNull,
    fix: startReplyLast(/"type":"mirror".*"BLOCK_JOB_READY"/),
  },
  {
    name: 'empty-backup',
    why: 'a backup that finds nothing to copy sleeps for no time after each look; its end comes before or after the reply',
    fix: replyLast(/"len":0,.*"type":"backup".*"BLOCK_JOB_COMPLETED"/),
  },
  {
    name: 'errors-and-reply',
    why: 'requests that a command sets off fail before or after its reply, as images and threads answer',
    fix: replyLast(/"BLOCK_JOB_ERROR"/),
  },
  {
    name: 'unplug-and-reply',
    why: 'a device that a reset lets go is freed by another thread, before or after the reply of the reset',
    fix: replyLast(/"DEVICE_DELETED"/),
  },
  {
    name: 'threshold-at-start',
    why: 'the first writes of a new job race with the reply to its start, which shows where a write threshold is passed',
    fix: startReplyLast(/"BLOCK_WRITE_THRESHOLD"/),
  },
];

/**
 * Lines with every freedom of a profile taken away.
 * @param steps the commands so far
 */
export const inFixedOrder = (
  lines: readonly string[],
  profile: string,
  steps: readonly Step[],
): readonly string[] =>
  FREE_ORDERS.filter((order) => order.profile === undefined || order.profile === profile)
    .filter(({ after }) => after?.(steps) ?? true)
    .reduce((sorted, order) => order.fix(sorted), lines);
