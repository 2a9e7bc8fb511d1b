/** The catalogue of scenarios. */
import { guardScenarios } from './guards.ts';
import { miniSpecs } from './mini-specs.ts';
import { progressScenarios } from './progress.ts';
import type { Scenario } from './scenario.ts';
import { tpQemuScenarios } from './tp-qemu.ts';

/** Every scenario, in the order of the catalogue. */
export const scenarios: readonly Scenario[] = [
  ...miniSpecs,
  ...progressScenarios,
  ...guardScenarios,
  ...tpQemuScenarios,
];
export type { Scenario } from './scenario.ts';
