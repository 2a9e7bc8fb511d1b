/** The catalogue of scenarios. */
import { guardScenarios } from './guards.ts';
import { progressScenarios } from './progress.ts';
import type { Scenario } from './scenario.ts';
import { tpQemuScenarios } from './tp-qemu.ts';

/** Every scenario, in the order of the catalogue. */
export const scenarios: readonly Scenario[] = [...progressScenarios, ...guardScenarios, ...tpQemuScenarios];
export type { Scenario } from './scenario.ts';
