/** The driver in memory under another name, for tests of the suite itself. */
import type { Target } from '../../../conformance/target.ts';
import { memoryTarget } from '../../../entry/targets/memory.ts';

/** A target over the smallest driver; it has no wire. */
export const fakeTarget: Target = { ...memoryTarget(), id: 'fake', title: 'a driver in memory' };
