/** The machine as a whole: run state, identity, devices, introspection. */
import type { JsonObject } from '../../../src/qmp/messages.ts';
import { activateAll } from '../../core/activity.ts';
import { addDevice, finishUnplug } from '../../core/devices.ts';
import { refuse } from '../../core/errors.ts';
import { reset } from '../../core/guest/lifecycle.ts';
import { type CommandTable, LATER, needText } from './table.ts';

const NS_PER_MS = 1_000_000;
// Long enough for the reply to leave before the process does.
const EXIT_NS = 1_000;
// A device is freed only after a grace period, so its end comes well after the reply.
const UNPLUG_NS = 20_000_000;

/** Commands about the machine. */
export const lifecycleCommands: CommandTable = {
  'query-status': ({ vm, profile }) => ({
    status: vm.runState,
    ...(profile.behaviour.singlestep ? { singlestep: false } : {}),
    running: vm.running,
  }),
  'query-version': ({ profile }) => {
    const { version, package: packageName } = profile.introspection.greeting;
    return { qemu: { ...version }, package: packageName };
  },
  'query-commands': ({ profile }) => profile.introspection.commands.map((name) => ({ name })),
  'query-qmp-schema': ({ profile }) => profile.introspection.schema as unknown as JsonObject[],
  'query-name': ({ vm }) => ({ ...(vm.name !== undefined && { name: vm.name }) }),
  'query-uuid': ({ vm }) => ({ UUID: vm.uuid }),
  'query-target': () => ({ arch: 'x86_64' }),
  'query-kvm': () => ({ enabled: false, present: false }),
  'query-chardev': ({ chardevs }) => chardevs.map((each) => ({ 'frontend-open': true, ...each })),
  'query-cpus-fast': () => [
    {
      'thread-id': 1,
      props: { 'core-id': 0, 'thread-id': 0, 'socket-id': 0 },
      'qom-path': '/machine/unattached/device[0]',
      'cpu-index': 0,
      target: 'x86_64',
    },
  ],
  stop: ({ vm }, _args, finish) => {
    if (vm.running) vm.pause('paused');
    // Everything is drained and flushed, whether the CPUs ran or not.
    vm.flapAll();
    if (!vm.graph.flushAll()) return undefined;
    vm.clock.after(vm.costNs({ op: 'flush', bytes: 0 }), () => finish());
    return LATER;
  },
  cont: ({ vm }) => {
    if (vm.runState === 'shutdown' || vm.runState === 'guest-panicked') {
      refuse('Resetting the Virtual Machine is required');
    }
    // Jobs that stopped at an error stay paused, but what stopped them is forgotten.
    for (const job of vm.jobs.jobs) job.ioStatus = 'ok';
    if (vm.runState === 'inmigrate') vm.runsAfterMigration = true;
    else {
      activateAll(vm);
      vm.resume();
    }
    return undefined;
  },
  system_reset: ({ vm }) => {
    reset(vm, 'host-qmp-system-reset');
    return undefined;
  },
  system_powerdown: ({ vm }) => {
    vm.emit('POWERDOWN');
    return undefined;
  },
  system_wakeup: ({ vm }) =>
    refuse(
      vm.canSuspend
        ? 'Unable to wake up: guest is not in suspended state'
        : 'wake-up from suspend is not supported by this guest',
    ),
  'set-action': ({ vm }, args) => {
    Object.assign(vm.guestActions, args);
    return undefined;
  },
  quit: ({ vm, profile }, _args, finish) => {
    const end = () => {
      vm.shutDown('host-qmp-quit');
      vm.clock.after(EXIT_NS, () => vm.options.exit(0, null));
    };
    if (profile.behaviour.quitReply === 'last') end();
    else vm.clock.after(EXIT_NS, end);
    finish();
    return LATER;
  },
  device_add: ({ vm }, args) => {
    addDevice(vm, args);
    return undefined;
  },
  device_del: ({ vm }, args) => {
    const id = needText(args, 'id');
    const device = vm.devices.find((each) => each.id === id || each.path === id);
    if (!device) {
      return refuse(`Device '${id}' not found`, 'DeviceNotFound', { kind: 'device-not-found', device: id });
    }
    const asked = vm.unplugging.get(device);
    const isPci = device.driver.endsWith('-pci');
    // A guest that has run may be asked again: it may not have been listening. One that had not stays asked.
    if (isPci && asked?.guestMs === 0) refuse(`Device ${id} is already in the process of unplug`);
    vm.unplugging.set(device, { guestMs: Math.floor(vm.guestClock.ns / NS_PER_MS) });
    if (isPci || asked) return undefined;
    if (device.backend?.node) vm.flap(device.backend.node, 1);
    vm.clock.after(UNPLUG_NS, () => finishUnplug(vm));
    return undefined;
  },
};
