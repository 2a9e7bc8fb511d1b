/** What faults do to the machine itself; what they do to messages is the monitor's side. */
import { guestPanic, guestReset, guestShutdown } from '../guest/lifecycle.ts';
import type { Vm } from '../vm.ts';
import type { Fault } from './plan.ts';
import type { FaultAction } from './points.ts';

/** Unwinds the stack of a process that has ended or hangs; only the machine's edge catches it. */
export class ProcessGone extends Error {
  override name = 'ProcessGone';
}

type Performer = (vm: Vm, fault: Fault) => void;

const PERFORMERS: Partial<Readonly<Record<FaultAction, Performer>>> = {
  stall: (vm, { delayNs = 0 }) => vm.stall(delayNs),
  crash: (vm) => vm.die(null, 'SIGKILL'),
  'power-loss': (vm) => {
    vm.powerLost = true;
    vm.die(null, 'SIGKILL');
  },
  abort: (vm) => vm.die(null, 'SIGABRT'),
  exit: (vm, { code = 1 }) => vm.die(code, null),
  hang: (vm) => vm.hang(),
  close: (vm) => vm.options.closeAll(),
  // The guest does it as soon as it runs again, not in the middle of what the process does now.
  'guest-shutdown': (vm) => vm.soon(() => guestShutdown(vm)),
  'guest-reset': (vm) => vm.soon(() => guestReset(vm)),
  'guest-panic': (vm) => vm.soon(() => guestPanic(vm)),
};

/** Carries out what concerns the machine; throws {@link ProcessGone} if nothing follows. */
export function performFault(vm: Vm, fault: Fault): void {
  PERFORMERS[fault.do]?.(vm, fault);
}
