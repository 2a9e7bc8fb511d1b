/** Where a fault can be put and what it can do there: two closed tables. docs/fault-points.md is made from them. */

/** What sort of place a point is; it decides which actions make sense there. */
export type PointKind =
  /** A request of a job or of the guest. */
  | 'io'
  /** A step between two things that happen at once. */
  | 'step'
  /** A step that can fail. */
  | 'failing-step'
  | 'greeting'
  | 'command'
  | 'reply'
  | 'event'
  | 'time';

interface Point {
  readonly kind: PointKind;
  /** One sentence for the documentation. */
  readonly says: string;
}

/** Every point, in the order of the documentation. */
export const FAULT_POINTS = {
  'mirror.target-created': {
    kind: 'step',
    says: 'The target of a mirror is there and open, the job is not: a crash leaves an orphan (C1).',
  },
  'mirror.source-read': {
    kind: 'io',
    says: 'A mirror or an active commit reads its source, of which it first asks what it holds: until then len is 0.',
  },
  'mirror.target-write': {
    kind: 'io',
    says: 'A mirror or an active commit writes its target (C2 before READY).',
  },
  'mirror.target-flush': { kind: 'io', says: 'A mirror or an active commit flushes its target.' },
  'mirror.before-ready': { kind: 'step', says: 'Everything is copied and flushed, READY has not been said.' },
  'mirror.after-ready': { kind: 'step', says: 'READY has been said (C3).' },
  'mirror.tail-copied': {
    kind: 'step',
    says: 'After READY a guest write has been copied and not flushed: the target may lose it (C4).',
  },
  'mirror.before-event': {
    kind: 'step',
    says: 'A mirror has ended without a pivot, its last BLOCK_JOB event is not out.',
  },
  'mirror.after-event': { kind: 'step', says: 'A mirror has ended without a pivot and said so.' },
  'pivot.accepted': {
    kind: 'step',
    says: 'The command to complete has been accepted, nothing has happened yet.',
  },
  'pivot.before-reply': { kind: 'step', says: 'The command to complete is about to be answered.' },
  'pivot.after-reply': { kind: 'step', says: 'The command to complete has been answered.' },
  'pivot.drained': { kind: 'step', says: "The guest's requests are held back for the final look." },
  'pivot.final-sync': {
    kind: 'step',
    says: 'Source and target are equal and flushed for the last time (C5).',
  },
  'pivot.before-graph-change': {
    kind: 'failing-step',
    says: 'The target is about to take the place of the source; an error here keeps the guest on the source.',
  },
  'pivot.after-graph-change': {
    kind: 'step',
    says: 'The target has taken the place of the source, nobody has been told (C6).',
  },
  'pivot.before-event': {
    kind: 'step',
    says: 'The guest works on the target, BLOCK_JOB_COMPLETED is not out.',
  },
  'pivot.after-event': {
    kind: 'step',
    says: 'BLOCK_JOB_COMPLETED is out, the job is about to be gone (C7).',
  },
  'stream.read': { kind: 'io', says: 'A stream reads what is below the top image.' },
  'stream.write': { kind: 'io', says: 'A stream writes to the top image.' },
  'stream.copied': {
    kind: 'step',
    says: "A stream has copied everything, the header still names the old backing file (C5').",
  },
  'stream.before-graph-change': {
    kind: 'failing-step',
    says: 'A stream is about to drop the images it no longer needs.',
  },
  'stream.after-graph-change': {
    kind: 'step',
    says: 'A stream has dropped them, the header is the old one.',
  },
  'stream.header-write': {
    kind: 'failing-step',
    says: 'A stream rewrites the header; an error is reported although the graph has changed.',
  },
  'stream.after-header': {
    kind: 'step',
    says: "The header names the new backing file, nobody has been told (C6').",
  },
  'stream.before-event': { kind: 'step', says: 'A stream has ended, its last BLOCK_JOB event is not out.' },
  'stream.after-event': { kind: 'step', says: 'A stream has ended and said so.' },
  'commit.read': { kind: 'io', says: 'A commit of an image that is not the top reads it.' },
  'commit.write': { kind: 'io', says: 'A commit of an image that is not the top writes the base.' },
  'commit.copied': {
    kind: 'step',
    says: "A commit has copied everything, the overlay's header still names the old backing file (C5').",
  },
  'commit.before-graph-change': {
    kind: 'failing-step',
    says: 'A commit is about to drop the images between overlay and base.',
  },
  'commit.after-graph-change': {
    kind: 'step',
    says: 'A commit has dropped them, the header is the old one.',
  },
  'commit.header-write': {
    kind: 'failing-step',
    says: "A commit rewrites the overlay's header; an error is reported although the graph has changed.",
  },
  'commit.after-header': {
    kind: 'step',
    says: "The header names the new backing file, nobody has been told (C6').",
  },
  'commit.before-event': { kind: 'step', says: 'A commit has ended, its last BLOCK_JOB event is not out.' },
  'commit.after-event': { kind: 'step', says: 'A commit has ended and said so.' },
  'backup.source-read': { kind: 'io', says: 'A backup reads its source.' },
  'backup.target-write': { kind: 'io', says: 'A backup writes its target.' },
  'backup.copied': { kind: 'step', says: 'A backup has copied everything and has not ended.' },
  'backup.before-event': { kind: 'step', says: 'A backup has ended, its last BLOCK_JOB event is not out.' },
  'backup.after-event': { kind: 'step', says: 'A backup has ended and said so.' },
  'create.write': { kind: 'io', says: 'blockdev-create writes the metadata of an image.' },
  'create.formatted': { kind: 'step', says: 'blockdev-create has made the image, its job has not ended.' },
  'snapshot.created': { kind: 'step', says: "The snapshot's file is there, the disk does not use it." },
  'snapshot.before-graph-change': { kind: 'step', says: 'The overlay is about to go on top of the disk.' },
  'snapshot.after-graph-change': {
    kind: 'step',
    says: 'The guest writes to the overlay, the command has not been answered.',
  },
  'internal-snapshot.taken': {
    kind: 'step',
    says: 'A disk has its internal snapshot; where several get one together, the next has not.',
  },
  'internal-snapshot.restored': {
    kind: 'step',
    says: 'A disk is back at its internal snapshot; the next one, and the machine, are not.',
  },
  'internal-snapshot.dropped': {
    kind: 'step',
    says: 'A disk has lost its internal snapshot; where several lose theirs, the next has it still.',
  },
  'guest.read': { kind: 'io', says: "A guest device's read; rerror decides what the guest sees." },
  'guest.write': { kind: 'io', says: "A guest device's write; werror decides what the guest sees." },
  'guest.flush': { kind: 'io', says: "A guest device's flush; werror decides what the guest sees." },
  'node.read': { kind: 'io', says: 'Any read that reaches a node, whoever asked.' },
  'node.write': { kind: 'io', says: 'Any write that reaches a node, whoever asked.' },
  'node.flush': { kind: 'io', says: 'Any flush that reaches a node, whoever asked.' },
  'monitor.greeting': { kind: 'greeting', says: 'A client has connected and is about to be greeted.' },
  'monitor.command': { kind: 'command', says: 'A command with good arguments is about to be executed.' },
  'monitor.reply': { kind: 'reply', says: 'A command has been executed, its reply is about to go out.' },
  'monitor.event': { kind: 'event', says: 'An event is about to go out to every client.' },
  'at-time': { kind: 'time', says: 'The moment `atNs`, counted from the start of the process.' },
} as const satisfies Readonly<Record<string, Point>>;

/** The name of a point. */
export type FaultPoint = keyof typeof FAULT_POINTS;

type PointsOfKind<K extends PointKind> = {
  [P in FaultPoint]: (typeof FAULT_POINTS)[P]['kind'] extends K ? P : never;
}[FaultPoint];

/** Points where a request can fail or be slow. */
export type IoPoint = PointsOfKind<'io'>;
/** Points between two steps. */
export type StepPoint = PointsOfKind<'step' | 'failing-step'>;

/** What a fault does. */
export interface Action {
  readonly says: string;
  /** Left out: at every point. */
  readonly at?: readonly PointKind[];
  /** Members that belong to it beyond those that every fault can have. */
  readonly members?: readonly string[];
  /** Members without which it means nothing. */
  readonly needs?: readonly string[];
}

/** Every action, in the order of the documentation. */
export const FAULT_ACTIONS = {
  error: {
    says: 'The request or the step fails with `errno` (EIO when left out).',
    at: ['io', 'failing-step'],
    members: ['errno'],
  },
  delay: {
    says: 'It takes `delayNs` longer; a late command holds up those behind it.',
    at: ['io', 'command', 'reply', 'event', 'greeting'],
    members: ['delayNs'],
    needs: ['delayNs'],
  },
  stall: {
    says: 'No command of any monitor is executed for `delayNs`.',
    members: ['delayNs'],
    needs: ['delayNs'],
  },
  drop: { says: 'It never reaches the client; the connection stays.', at: ['reply', 'event', 'greeting'] },
  truncate: {
    says: 'The client gets the first `bytes` bytes (half when left out), then the connection ends.',
    at: ['reply', 'greeting'],
    members: ['bytes'],
  },
  close: {
    says: 'The connection ends instead; at an event or a time all of them do.',
    at: ['command', 'reply', 'event', 'greeting', 'time'],
  },
  reorder: {
    says:
      'The event of a job changes places with the next message, if that is a reply or belongs to another job: the ' +
      'orders that QEMU leaves open.',
    at: ['event'],
  },
  crash: { says: 'SIGKILL: what was not flushed may be lost.' },
  'power-loss': {
    says:
      'The host of this machine dies: what was written since the last flush of its file may be lost, of each file that the ' +
      'machine may write to.',
  },
  abort: { says: 'abort(3), as a failed assertion does: SIGABRT, exit status 134 in a shell.' },
  exit: {
    says: 'The process exits with `code` (1 when left out) without closing its images.',
    members: ['code'],
  },
  hang: { says: 'The process stops for good with its sockets open; only SIGKILL ends it.' },
  'guest-shutdown': { says: 'The guest switches its machine off.' },
  'guest-reset': { says: 'The guest resets its machine.' },
  'guest-panic': { says: 'The guest panics, and a pvpanic device says so.' },
} as const satisfies Readonly<Record<string, Action>>;

/** The name of an action. */
export type FaultAction = keyof typeof FAULT_ACTIONS;

/** Whether an action makes sense at a point. */
export function isPossible(action: FaultAction, point: FaultPoint): boolean {
  const { at }: Action = FAULT_ACTIONS[action];
  return at === undefined || at.includes(FAULT_POINTS[point].kind);
}

/** The actions that make sense at a point. */
export const actionsAt = (point: FaultPoint): FaultAction[] =>
  (Object.keys(FAULT_ACTIONS) as FaultAction[]).filter((action) => isPossible(action, point));
