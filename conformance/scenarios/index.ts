/** The catalogue of scenarios. */
import { guardScenarios } from './guards.ts';
import { miniSpecs } from './mini-specs.ts';
import type { Play } from './play.ts';
import {
  appearancePlays,
  earlyFailurePlays,
  earlyReturnPlays,
  lateSubscriberPlays,
  leftoverPlays,
} from './plays/appearances.ts';
import { cancelPlays } from './plays/cancel.ts';
import { nonePlays } from './plays/meanings.ts';
import { progressScenarios } from './progress.ts';
import { played, type Scenario } from './scenario.ts';
import { tpQemuScenarios } from './tp-qemu.ts';

/** Plays of scenarios that contracts show as well. */
const PLAYS: { readonly [name: string]: readonly Play[] } = {
  'mirror/zero-zero-start': appearancePlays('mirror/zero-zero-start'),
  'mirror/cur-equals-end-not-ready': appearancePlays('mirror/cur-equals-end-not-ready'),
  'job/fails-before-first-poll': earlyFailurePlays,
  'events/subscribed-after-start': lateSubscriberPlays,
  'complete/returns-early': earlyReturnPlays,
  'abort/leftover-nodes': leftoverPlays,
  'job/none-means-what': nonePlays,
  'abort/ready-cancel-keeps-source': cancelPlays,
};

/** Every scenario, in the order of the catalogue. */
export const scenarios: readonly Scenario[] = [
  ...miniSpecs,
  ...progressScenarios,
  ...guardScenarios,
  ...tpQemuScenarios,
].map((each) => played(each, PLAYS[each.name] ?? each.plays));
export type { Scenario } from './scenario.ts';
