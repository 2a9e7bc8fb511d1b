/** A host as one management process has it: when that dies, nothing more is sent, heard or waited for. */
import { overlay } from '../../conformance/index.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** The host, and the end of the process that has it. */
export interface MortalHost {
  readonly host: Host;
  readonly isAlive: () => boolean;
  /** Its machines run on; emulators that end with their process do. */
  die(): void;
}

/** Wraps a host for one management process. */
export function mortalHost(inner: Host): MortalHost {
  let alive = true;
  const links = new Set<Duplex>();
  const emulators = new Set<Emulator>();
  const link = (duplex: Duplex): Duplex => {
    links.add(duplex);
    return {
      write: (bytes) => alive && duplex.write(bytes),
      onData: (listener) => duplex.onData((bytes) => alive && listener(bytes)),
      onClose: (listener) => duplex.onClose((cause) => alive && listener(cause)),
      close: () => duplex.close(),
    };
  };
  const keep = (emulator: Emulator): Emulator => {
    emulators.add(emulator);
    return overlay(emulator, {
      connect: async () => link(await emulator.connect()),
      terminate: () => (alive ? emulator.terminate() : new Promise(() => {})),
    });
  };
  const { attach } = inner;
  const host: Host = overlay(inner, {
    timers: {
      now: () => inner.timers.now(),
      after: (delayMs, callback) => inner.timers.after(delayMs, () => alive && callback()),
    },
    launch: async (name, argv, launched) => keep(await inner.launch(name, argv, launched)),
    ...(attach && {
      async attach(handle) {
        const found = await attach.call(inner, handle);
        return found && keep(found);
      },
    }),
  });
  return {
    host,
    isAlive: () => alive,
    die() {
      alive = false;
      for (const duplex of links) duplex.close();
      for (const emulator of emulators) {
        if (emulator.leave) emulator.leave();
        else void emulator.terminate();
      }
    },
  };
}
