/** The job state machine as tables (QAPI JobStatus, JobVerb). */

/** QAPI JobStatus. */
export type JobStatus =
  | 'undefined'
  | 'created'
  | 'running'
  | 'paused'
  | 'ready'
  | 'standby'
  | 'waiting'
  | 'pending'
  | 'aborting'
  | 'concluded'
  | 'null';

/** QAPI JobVerb. */
export type JobVerb =
  | 'cancel'
  | 'pause'
  | 'resume'
  | 'set-speed'
  | 'complete'
  | 'finalize'
  | 'dismiss'
  | 'change';

/** Which states may follow which. */
export const TRANSITIONS = {
  undefined: ['created'],
  created: ['running', 'aborting', 'null'],
  running: ['paused', 'ready', 'waiting', 'aborting'],
  paused: ['running'],
  ready: ['standby', 'waiting', 'aborting'],
  standby: ['ready'],
  waiting: ['pending', 'aborting'],
  pending: ['aborting', 'concluded'],
  aborting: ['aborting', 'concluded'],
  concluded: ['null'],
  null: [],
} as const satisfies Record<JobStatus, readonly JobStatus[]>;

const WHILE_ALIVE = ['created', 'running', 'paused', 'ready', 'standby'] as const;

/** In which states a verb is accepted. */
export const VERBS: Readonly<Record<JobVerb, readonly JobStatus[]>> = {
  cancel: [...WHILE_ALIVE, 'waiting', 'pending'],
  pause: WHILE_ALIVE,
  resume: WHILE_ALIVE,
  'set-speed': WHILE_ALIVE,
  complete: ['ready', 'standby'],
  finalize: ['pending'],
  dismiss: ['concluded'],
  change: WHILE_ALIVE,
};
