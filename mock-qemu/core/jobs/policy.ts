/** What an error policy makes of an error: for jobs and for guest devices alike. */
import type { Errno } from '../errno.ts';

/** QAPI BlockdevOnError. */
export type ErrorPolicy = 'report' | 'ignore' | 'enospc' | 'stop' | 'auto';

/** QAPI BlockErrorAction. */
export type ErrorAction = 'report' | 'ignore' | 'stop';

const stopWhenFull = (code: Errno): ErrorAction => (code === 'ENOSPC' ? 'stop' : 'report');

/** The action for each policy. */
export const POLICY_ACTIONS: Readonly<Record<ErrorPolicy, (code: Errno) => ErrorAction>> = {
  report: () => 'report',
  ignore: () => 'ignore',
  stop: () => 'stop',
  enospc: stopWhenFull,
  auto: stopWhenFull,
};
