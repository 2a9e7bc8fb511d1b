/** The targets that the command line offers, in the order of the matrix. */
import type { TargetChoice } from '../../conformance/cli.ts';
import { memoryTarget } from './memory.ts';
import { foundQemuTargets, qemuTargets } from './qemu.ts';
import { simProcessTarget } from './sim-process.ts';
import { simTargetInThreads } from './sim-threads.ts';
import { socketTarget } from './socket.ts';

/** Every target; `qemu` takes the path of an emulator. */
export const targetChoices: readonly TargetChoice[] = [
  {
    name: 'sim',
    argument: 'PROFILE',
    help: 'a simulated QEMU inside this process, on virtual time',
    make: async (profile) => [simTargetInThreads(profile)],
  },
  {
    name: 'sim-process',
    help: 'simulated QEMUs as processes of their own, over a unix socket',
    make: async () => [simProcessTarget()],
  },
  {
    name: 'qemu',
    argument: 'PATH',
    help: 'a real QEMU; every one that is found where no other is named',
    make: (emulator) => (emulator === undefined ? foundQemuTargets() : qemuTargets([emulator])),
  },
  {
    name: 'qmp',
    argument: 'SOCKET',
    help: 'the qmp/ contracts on a QMP server with nothing in it, which is left running',
    onlyNamed: true,
    needsArgument: true,
    make: async (socket = '', directory) => [
      socketTarget({ socket, ...(directory === undefined ? {} : { directory }) }),
    ],
  },
  {
    name: 'memory',
    help: 'the driver in memory, which has no QMP; only where it is named',
    onlyNamed: true,
    make: async () => [memoryTarget()],
  },
];
