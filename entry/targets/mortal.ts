/** A host as one management process has it: when that dies, nothing more is sent, heard or waited for. */
import { overlay } from '../../conformance/index.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { StateStore } from '../../src/index.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** The host, and the end of the process that has it. */
export interface MortalHost {
  readonly host: Host;
  readonly isAlive: () => boolean;
  /** Before an effect on the outside; false: it does not happen any more. */
  readonly point: () => boolean;
  /** How many effects there were. */
  readonly effects: () => number;
  /** Has `dead` told right before the effect after `effects` more, and at each one after it. */
  dieAfter(effects: number): void;
  /** Its machines run on; emulators that end with their process do. */
  die(): void;
}

/**
 * Wraps a host for one management process.
 * @param dead told when it is to die, at one of its effects
 * @param launched told of machines that outlive it
 */
export function mortalHost(
  inner: Host,
  dead: () => void,
  launched: (argv: readonly string[], handle: string) => void,
): MortalHost {
  let alive = true;
  let left = Number.POSITIVE_INFINITY;
  let effects = 0;
  const point = (): boolean => {
    if (alive && left-- <= 0) dead();
    if (alive) effects += 1;
    return alive;
  };
  const links = new Set<Duplex>();
  const emulators = new Set<Emulator>();
  const link = (duplex: Duplex): Duplex => {
    links.add(duplex);
    return {
      write: (bytes) => point() && duplex.write(bytes),
      onData: (listener) => duplex.onData((bytes) => point() && listener(bytes)),
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
    async launch(name, argv, tell) {
      const note = (handle: string) => {
        launched(argv, handle);
        tell?.(handle);
      };
      return keep(await inner.launch(name, argv, tell && note));
    },
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
    point,
    effects: () => effects,
    dieAfter(more) {
      left = more;
    },
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

/** What a dead process writes is written nowhere. */
export function mortalState(store: StateStore, { isAlive, point }: MortalHost): StateStore {
  return {
    load: () => store.load(),
    write: (key, text) => point() && store.write(key, text),
    remove: (key) => point() && store.remove(key),
    close: () => isAlive() && store.close(),
  };
}
