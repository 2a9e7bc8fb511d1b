/** What the guest does to its machine: switch it off, reset it, panic. */
import { cancelUnpluggedJobs, finishUnplug } from '../devices.ts';
import type { ShutdownReason, Vm } from '../vm.ts';

// Long enough for what was said last to leave before the process does.
const EXIT_NS = 1_000;
// A device is freed only after a grace period, so its end comes well after the reply.
const UNPLUG_NS = 20_000_000;

/** Why a machine was reset (QAPI ShutdownCause). */
export type ResetReason = 'host-qmp-system-reset' | 'guest-reset';

/** The guest switches itself off; with `-no-shutdown` the process stays. */
export function guestShutdown(vm: Vm): void {
  if (vm.running) powerOff(vm, 'guest-shutdown');
}

/** The guest asks for a reset; with `-no-reboot` that is its end. */
export function guestReset(vm: Vm): void {
  if (!vm.running) return;
  if (vm.guestActions.reboot === 'shutdown') powerOff(vm, 'guest-reset');
  else reset(vm, 'guest-reset');
}

/** The guest's kernel panics and a pvpanic device reports it. */
export function guestPanic(vm: Vm): void {
  if (!vm.running) return;
  switch (vm.guestActions.panic) {
    case 'none':
      vm.emit('GUEST_PANICKED', { action: 'run' });
      return;
    case 'pause':
      vm.emit('GUEST_PANICKED', { action: 'pause' });
      vm.pause('guest-panicked');
      return;
    default:
      vm.emit('GUEST_PANICKED', { action: 'poweroff' });
      vm.pause('guest-panicked');
      powerOff(vm, 'guest-panic', vm.guestActions.panic === 'exit-failure' ? 1 : 0);
  }
}

function powerOff(vm: Vm, reason: ShutdownReason, code = 0): void {
  if (vm.guestActions.shutdown === 'pause') {
    vm.emit('SHUTDOWN', { guest: true, reason });
    vm.pause('shutdown');
    return;
  }
  // The process ends when the main loop has nothing else to do, never inside of what asked for it.
  vm.soon(() => {
    vm.shutDown(reason);
    vm.clock.after(EXIT_NS, () => vm.options.exit(code, null));
  });
}

/** Resets the machine: each device holds the jobs on its disk for a moment, and an unplug that waited for this goes on. */
export function reset(vm: Vm, reason: ResetReason): void {
  for (const device of vm.devices) {
    if (device.backend?.node) vm.flap(device.backend.node, vm.unplugging.has(device) ? 2 : 1);
  }
  vm.whenStill(() => {
    cancelUnpluggedJobs(vm);
    vm.emit('RESET', { guest: reason === 'guest-reset', reason });
    if (!vm.running) vm.runState = 'prelaunch';
    for (const { backend } of vm.unplugging.keys()) if (backend) backend.qdev = undefined;
    vm.clock.after(UNPLUG_NS, () => finishUnplug(vm));
  });
}
