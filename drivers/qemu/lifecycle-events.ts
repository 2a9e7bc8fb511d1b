/** Events of the machine as a whole, and what each means to its owner. */
import type { DriverEvent } from '../../src/driver.ts';
import type { QmpEventMessage } from './qmp-client.ts';

/** What lifecycle events do to a machine. */
export interface LifecyclePort {
  emit(event: DriverEvent): void;
  stopped(): void;
  resumed(): void;
  guestShutDown(): void;
  hostShutDown(): void;
}

type LifecycleHandler = (machine: LifecyclePort, event: QmpEventMessage) => void;

/** By event name. */
export const LIFECYCLE: Partial<Record<string, LifecycleHandler>> = {
  STOP: (machine) => machine.stopped(),
  RESUME: (machine) => machine.resumed(),
  RESET: (machine) => machine.emit({ type: 'reset' }),
  POWERDOWN: (machine) => machine.emit({ type: 'powerdown-requested' }),
  // Old QEMUs do not say who shut down; there only a guest does.
  SHUTDOWN: (machine, { data }) => (data.guest === false ? machine.hostShutDown() : machine.guestShutDown()),
};
