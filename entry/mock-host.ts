/** Lets the QEMU driver run simulated QEMUs of one world as if they were processes of a host. */
import type { Emulator, Host, SnapshotVerb } from '../drivers/qemu/host.ts';
import type { Data, Value } from '../mock-qemu/core/data.ts';
import type { ImageStore } from '../mock-qemu/core/images.ts';
import { DEFAULT_PROFILE } from '../mock-qemu/profiles/index.ts';
import type { BootedQemu, World } from '../mock-qemu/shells/world.ts';
import { ErrorCode, VirtError } from '../src/errors.ts';

/** What the simulated QEMU is called that handles images where the others are too old for that. */
const IMAGE_EMULATOR = 'mock-qemu, to handle images';

/** An emulator that can be asked for what only a simulation can do. */
interface MockEmulator extends Emulator {
  /** Answers at once; rejects with a ControlError for a request that is wrong. */
  control(request: Data): Promise<Value>;
}

/**
 * A host whose emulators are simulated QEMUs.
 * @param profile which QEMU they are, see the profiles of mock-qemu
 * @param withoutBugs which of its known bugs they do not have
 * @param survivors the simulated QEMUs that outlive a host, by handle; shared by the hosts that come one after the other
 */
export function createMockHost(
  world: World,
  profile: string,
  withoutBugs: readonly string[] = [],
  survivors: Map<string, BootedQemu> = new Map(),
): Host {
  const running = new Set<Emulator>();
  return {
    timers: world.timers,
    imageEmulator: IMAGE_EMULATOR,
    files: {
      stat: async (path) => world.store.stat(path),
      createEmpty: async (path) => world.store.createEmpty(path),
      remove: async (path) => world.store.remove(path),
      snapshot: async (verb, path, _format, name) => {
        const seconds = Math.floor(world.timers.now() / 1000);
        changeSnapshots(world.store, verb, path, name, seconds);
      },
      writeText: async (path, text) => writeText(world.store, path, text),
      readStart: async (path, bytes) => readStart(world.store, path, bytes),
    },
    async launch(emulatorName, argv, launched) {
      const isForImages = emulatorName === IMAGE_EMULATOR;
      const booted = world.boot(
        isForImages ? { profile: DEFAULT_PROFILE, argv } : { profile, withoutBugs, argv },
      );
      const emulator = emulatorOf(booted, launched && (() => running.delete(emulator)));
      running.add(emulator);
      if (launched) {
        const handle = `simulated QEMU ${survivors.size + 1}`;
        survivors.set(handle, booted);
        launched(handle);
      }
      void booted.exited.then(() => running.delete(emulator));
      if (booted.hasExited()) {
        throw new VirtError(
          ErrorCode.INTERNAL_ERROR,
          `process exited while connecting to monitor: ${booted.output().trim()}`,
        );
      }
      return emulator;
    },
    async attach(handle) {
      const booted = survivors.get(handle);
      return booted && !booted.hasExited() ? emulatorOf(booted, () => undefined) : undefined;
    },
    async close() {
      await Promise.all([...running].map((emulator) => emulator.terminate()));
    },
  };
}

function emulatorOf(booted: BootedQemu, leave: (() => void) | undefined): MockEmulator {
  return {
    connect: async () => booted.connect(),
    exited: booted.exited,
    output: () => booted.output(),
    control: async (request) => booted.control(request),
    async terminate() {
      booted.signal('SIGTERM');
      await booted.exited;
    },
    ...(leave && { leave }),
  };
}

/** Replaces a file's content, byte for byte. */
function writeText(store: ImageStore, path: string, text: string): void {
  const bytes = Buffer.from(text);
  const file = store.create(path);
  file.virtualSizeBytes = bytes.length;
  for (const [at, byte] of bytes.entries()) file.extents.set(at, at + 1, byte);
  file.save();
}

function readStart(store: ImageStore, path: string, bytes: number): Buffer {
  const file = store.open(path);
  const start = Buffer.alloc(Math.min(bytes, file.virtualSizeBytes));
  for (const [at] of start.entries()) start[at] = Math.max(0, file.extents.at(at, at + 1).tag);
  return start;
}

/** What qemu-img does to an image. @throws Error with its words */
function changeSnapshots(
  store: ImageStore,
  verb: SnapshotVerb,
  path: string,
  name: string,
  seconds: number,
): void {
  if (store.stat(path) === undefined) {
    const why = `Could not open '${path}'`;
    throw new Error(`${why}: ${why}: No such file or directory`);
  }
  const image = store.open(path);
  const found = image.snapshots.findIndex((each) => each.name === name);
  const snapshot = image.snapshots[found];
  if (verb === 'create') {
    const id = String(Math.max(0, ...image.snapshots.map((each) => Number(each.id))) + 1);
    const { virtualSizeBytes } = image;
    const extents = image.extents.copy();
    const time = { dateSec: seconds, dateNsec: 0, vmClockNs: 0 };
    image.snapshots.push({ id, name, ...time, vmStateBytes: 0, virtualSizeBytes, extents });
  } else if (!snapshot) {
    const what =
      verb === 'apply' ? `apply snapshot '${name}': Failed to load snapshot` : `delete snapshot '${name}'`;
    throw new Error(
      `Could not ${what}: ${verb === 'apply' ? 'No such file or directory' : 'snapshot not found'}`,
    );
  } else if (verb === 'apply') {
    image.virtualSizeBytes = snapshot.virtualSizeBytes;
    image.extents.become(snapshot.extents);
  } else image.snapshots.splice(found, 1);
  image.save();
}
