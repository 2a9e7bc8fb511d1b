/** Everything that is measured, in the order of the report. */
import type { BenchCase } from '../figure.ts';
import { hour } from './hour.ts';
import { pivot } from './pivot.ts';
import { tebibyte } from './tebibyte.ts';
import { thousand } from './thousand.ts';
import { greeting, roundTrip } from './wire.ts';

export const cases: readonly BenchCase[] = [pivot, roundTrip, greeting, tebibyte, hour, thousand];
