/** Everything that is measured, in the order of the report. */
import type { BenchCase } from '../figure.ts';

export const cases: readonly BenchCase[] = [
  { name: 'pivot', isolated: true, load: async () => (await import('./pivot.ts')).pivot },
  { name: 'round-trip', load: async () => (await import('./wire.ts')).roundTrip },
  { name: 'greeting', load: async () => (await import('./wire.ts')).greeting },
  { name: 'tebibyte', isolated: true, load: async () => (await import('./tebibyte.ts')).tebibyte },
  { name: 'hour', isolated: true, load: async () => (await import('./hour.ts')).hour },
  { name: 'thousand', isolated: true, load: async () => (await import('./thousand.ts')).thousand },
];
