/**
 * What can be done to a simulated machine from outside that nobody can do to a real one: one request, one answer, both
 * plain JSON, the same in process and over a control socket.
 */
import type { Data, Value } from './data.ts';
import { FaultPlanError, parseFaultPlan } from './faults/plan.ts';
import type { BlockBackend } from './graph/backend.ts';
import { guestPanic, guestReset, guestShutdown } from './guest/lifecycle.ts';
import { guestRequest } from './guest/requests.ts';
import type { Vm } from './vm.ts';

/** A control request that cannot be carried out; the message is one line. */
export class ControlError extends Error {
  override name = 'ControlError';
}

interface Verb {
  /** One sentence for the documentation. */
  readonly says: string;
  /** Members besides `control`; those with a question mark can be left out. */
  readonly members: readonly string[];
  run(vm: Vm, request: Data): Value;
}

const fail = (message: string): never => {
  throw new ControlError(message);
};

const GUEST_DOINGS: Readonly<Record<string, (vm: Vm) => void>> = {
  shutdown: guestShutdown,
  reset: guestReset,
  panic: guestPanic,
};

function guest(vm: Vm, { do: doing }: Data): Value {
  const act = GUEST_DOINGS[String(doing)];
  if (!act) {
    return fail(
      `unknown doing ${JSON.stringify(doing ?? null)}; doings: ${Object.keys(GUEST_DOINGS).join(', ')}`,
    );
  }
  if (!vm.running) fail('the guest does not run');
  act(vm);
  return {};
}

const GUEST_OPS = ['read', 'write', 'flush', 'discard'] as const;

/** The backend of a guest's disk: by device id, QOM path or drive name. */
function diskOf(vm: Vm, name: Value | undefined): BlockBackend {
  const disk = vm.graph.backends.find(
    ({ name: drive, qdev, deviceId, qomPath }) =>
      typeof name === 'string' && name !== '' && [drive, qdev, deviceId, qomPath].includes(name),
  );
  return disk ?? fail(`no such disk: ${JSON.stringify(name ?? null)}`);
}

/** A whole number from 0, or what stands for none. */
function whole(request: Data, member: string, otherwise: number): number {
  const value = request[member] ?? otherwise;
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value);
  return fail(`${member} is a whole number from 0`);
}

/** One request of the guest: what the device does about an error shows in events and run state. */
function guestIo(vm: Vm, request: Data): Value {
  const op = GUEST_OPS.find((each) => each === request.op);
  if (!op) return fail(`unknown op ${JSON.stringify(request.op ?? null)}; ops: ${GUEST_OPS.join(', ')}`);
  const byte = whole(request, 'byte', 0);
  if (byte > 255) fail('byte is from 0 to 255');
  guestRequest(vm, diskOf(vm, request.disk), {
    op,
    offset: whole(request, 'offset', 0),
    bytes: whole(request, 'bytes', 0),
    tag: byte,
  });
  return {};
}

/** A file's host may run full: undefined is no limit. */
function setCapacity(vm: Vm, { path, bytes }: Data): Value {
  const file = typeof path === 'string' && vm.images.exists(path) ? vm.images.open(path) : undefined;
  if (!file) return fail(`no such file: ${JSON.stringify(path ?? null)}`);
  if (bytes !== null && !(Number.isSafeInteger(bytes) && Number(bytes) >= 0)) {
    return fail('bytes is a whole number from 0, or null for no limit');
  }
  file.capacityBytes = bytes === null ? undefined : Number(bytes);
  return {};
}

const PATTERNS = ['sequential', 'random'] as const;
const DEFAULT_BLOCK_BYTES = 65536;

/** Lets the guest write to a disk until something else is said. */
function guestLoad(vm: Vm, request: Data): Value {
  const disk = diskOf(vm, request.disk);
  const { node } = disk;
  if (!node) return fail('the disk has no medium');
  const wanted = request.pattern ?? 'sequential';
  const pattern = PATTERNS.find((each) => each === wanted);
  if (!pattern) return fail(`unknown pattern ${JSON.stringify(wanted)}; patterns: ${PATTERNS.join(', ')}`);
  const startBytes = whole(request, 'startBytes', 0);
  const hotBytes = whole(request, 'hotBytes', node.lengthBytes - startBytes);
  if (hotBytes === 0 || startBytes + hotBytes > node.lengthBytes) fail('the hot set is not within the disk');
  const blockBytes = Math.min(whole(request, 'blockBytes', DEFAULT_BLOCK_BYTES), hotBytes);
  if (blockBytes === 0) fail('blockBytes is a whole number from 1');
  vm.setLoad(disk, {
    bytesPerSecond: whole(request, 'bytesPerSecond', 0),
    startBytes,
    hotBytes,
    pattern,
    blockBytes,
    burstNs: whole(request, 'burstNs', 0),
    restNs: whole(request, 'restNs', 0),
    flushIntervalNs: whole(request, 'flushIntervalNs', 0),
  });
  return {};
}

/** What the guest has done to a disk. */
function queryGuestLoad(vm: Vm, { disk }: Data): Value {
  const load = vm.loads.get(diskOf(vm, disk));
  if (!load) return fail(`no load on ${JSON.stringify(disk)}`);
  const { writtenBytes, flushes, writeLatencyNs, bytesPerSecond } = load;
  return { writtenBytes, flushes, writeLatencyNs: Math.round(writeLatencyNs), bytesPerSecond };
}

const VERBS: Readonly<Record<string, Verb>> = {
  'add-faults': {
    says: 'Puts the faults of a plan in force.',
    members: ['faults'],
    run(vm, { faults }) {
      for (const fault of parseFaultPlan(faults)) vm.addFault(fault);
      return {};
    },
  },
  'clear-faults': {
    says: 'Takes every fault back.',
    members: [],
    run(vm) {
      vm.faults.clear();
      return {};
    },
  },
  'list-faults': {
    says: 'Answers with the faults in force, how often each point was passed and how often the fault happened.',
    members: [],
    run: (vm) =>
      vm.faults
        .list()
        .map(({ fault, seen, happened }) => ({ fault: fault as unknown as Data, seen, happened })),
  },
  guest: {
    says: 'The guest does `shutdown`, `reset` or `panic`.',
    members: ['do'],
    run: guest,
  },
  'guest-io': {
    says: 'The guest makes one request of a disk (a device, QOM path or drive): `read`, `write`, `flush` or `discard`.',
    members: ['disk', 'op', 'offset?', 'bytes?', 'byte?'],
    run: guestIo,
  },
  'guest-load': {
    says:
      'From now on the guest writes to a disk: `sequential` or `random` within its hot set, in bursts with rests ' +
      'where that is wanted; it rests with its CPUs.',
    members: [
      'disk',
      'bytesPerSecond',
      'startBytes?',
      'hotBytes?',
      'pattern?',
      'blockBytes?',
      'burstNs?',
      'restNs?',
      'flushIntervalNs?',
    ],
    run: guestLoad,
  },
  'stop-guest-load': {
    says: 'The guest stops writing to a disk.',
    members: ['disk'],
    run(vm, { disk }) {
      vm.setLoad(diskOf(vm, disk), undefined);
      return {};
    },
  },
  'query-guest-load': {
    says: 'Answers with what the guest has written, how fast it can and how long each write takes.',
    members: ['disk'],
    run: queryGuestLoad,
  },
  'set-capacity': {
    says: 'Limits how many bytes of content the host has room for in a file; null lifts the limit.',
    members: ['path', 'bytes'],
    run: setCapacity,
  },
};

/** The verbs of the control interface, for its documentation. */
export const CONTROL_VERBS: readonly (readonly [name: string, verb: Pick<Verb, 'says' | 'members'>])[] =
  Object.entries(VERBS);

/** Carries out a request; throws a {@link ControlError} that names what is wrong and lists what would be right. */
export function control(vm: Vm, request: Data, alsoValid: readonly string[] = []): Value {
  const name = String(request.control ?? '');
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (!verb) {
    return fail(`unknown control verb '${name}'; verbs: ${[...Object.keys(VERBS), ...alsoValid].join(', ')}`);
  }
  const known = verb.members.map((member) => member.replace('?', ''));
  const unknown = Object.keys(request).find((member) => member !== 'control' && !known.includes(member));
  if (unknown !== undefined)
    fail(`${name}: unknown member '${unknown}'; members: ${known.join(', ') || 'none'}`);
  const missing = verb.members.find((member) => !member.endsWith('?') && request[member] === undefined);
  if (missing !== undefined) fail(`${name}: ${missing} is missing`);
  try {
    return verb.run(vm, request);
  } catch (error) {
    throw error instanceof FaultPlanError ? new ControlError(error.message) : error;
  }
}
