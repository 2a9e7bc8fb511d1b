/** All canaries. */
import type { Canary } from '../canary.ts';
import { callCanaries } from './calls.ts';
import { checkpointCanaries } from './checkpoints.ts';
import { copyCanaries } from './copy.ts';
import { cutOffCanaries } from './cut-off.ts';
import { effectCanaries } from './effects.ts';
import { eventCanaries } from './events.ts';
import { guardCanaries } from './guard-rails.ts';
import { iotuneCanaries } from './iotune.ts';
import { offMomentCanaries } from './moments-off.ts';
import { outlivingCanaries } from './outliving.ts';
import { pivotCrashCanaries } from './pivot-crashes.ts';
import { progressCanaries } from './progress.ts';
import { pullCanaries } from './pull.ts';
import { commandCanaries } from './qmp/commands.ts';
import { earlyCanaries } from './qmp/early.ts';
import { ioErrorCanaries } from './qmp/io-errors.ts';
import { sequenceCanaries } from './qmp/sequences.ts';
import { stateCanaries } from './qmp/state.ts';
import { textCanaries } from './qmp/texts.ts';
import { verbCanaries } from './qmp/verbs.ts';
import { randomCallCanaries } from './random-calls.ts';
import { readOnlyCanaries } from './read-only.ts';
import { refusalCanaries } from './refusals.ts';
import { rowCanaries } from './rows.ts';
import { savingCanaries } from './saving.ts';

/** Every canary of the suite; each contract is named by at least one. */
export const canaries: readonly Canary[] = [
  ...copyCanaries,
  ...pullCanaries,
  ...progressCanaries,
  ...callCanaries,
  ...eventCanaries,
  ...effectCanaries,
  ...refusalCanaries,
  ...guardCanaries,
  ...readOnlyCanaries,
  ...iotuneCanaries,
  ...checkpointCanaries,
  ...cutOffCanaries,
  ...offMomentCanaries,
  ...savingCanaries,
  ...outlivingCanaries,
  ...verbCanaries,
  ...sequenceCanaries,
  ...textCanaries,
  ...stateCanaries,
  ...ioErrorCanaries,
  ...commandCanaries,
  ...earlyCanaries,
  ...pivotCrashCanaries,
  ...randomCallCanaries,
  ...rowCanaries,
];
