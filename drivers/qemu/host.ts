/**
 * What the QEMU driver needs of the machine it runs on. Two hosts exist: one that spawns real processes, and one that
 * hands out simulated QEMUs inside this process. Nothing else differs between the two.
 */
import type { Duplex } from '../../src/qmp/duplex.ts';
import type { Timers } from '../../src/util/timers.ts';

/** How an emulator ended. */
export interface EmulatorExit {
  /** Exit status, null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
}

/** One running emulator process, real or simulated. */
export interface Emulator {
  /** Opens a QMP connection; the first is made right after launch, later ones after a lost one. */
  connect(): Promise<Duplex>;
  /** Settles once, when the process has ended and its socket is gone. */
  readonly exited: Promise<EmulatorExit>;
  /** The last lines the process wrote to stderr and stdout: what an error message quotes. */
  output(): string;
  /** SIGTERM, then SIGKILL after a grace period; resolves when the process has ended. Idempotent. */
  terminate(): Promise<void>;
  /** Goes without the process, which runs on; left out by one that ends with this process. */
  leave?(): void;
}

/** What is done about an internal snapshot. */
export type SnapshotVerb = 'create' | 'apply' | 'delete';

/** File operations the driver does itself, next to those that the emulator does. */
export interface HostFiles {
  stat(path: string): Promise<{ readonly kind: 'file' | 'block'; readonly sizeBytes: number } | undefined>;
  /** Creates an empty file, mode 0600; rejects with the system's error (`code` ENOENT, EACCES, EEXIST, ...). */
  createEmpty(path: string): Promise<void>;
  /** Unlinks; no error if it is not there. */
  remove(path: string): Promise<void>;
  /** Internal snapshots of an image that nobody has open; rejects with what qemu-img says. Left out where there is none. */
  snapshot?(verb: SnapshotVerb, path: string, format: string, name: string): Promise<void>;
  /** Replaces a file's content, mode 0600; left out by hosts that keep no saved states. */
  writeText?(path: string, text: string): Promise<void>;
  /** The first bytes of a file, fewer if it is shorter; left out like {@link writeText}. */
  readStart?(path: string, bytes: number): Promise<Buffer>;
}

/** A place where emulators run. */
export interface Host {
  readonly timers: Timers;
  readonly files: HostFiles;
  /** An emulator that can make and read images, for hosts where the default one is too old for that. */
  readonly imageEmulator?: string;
  /**
   * Starts an emulator with these arguments plus a QMP monitor of the host's choosing. Rejects with a VirtError that
   * names the binary and what it printed if it cannot be run or ends before its monitor is there.
   * @param launched makes an emulator that outlives this process; called at once with what {@link attach} finds it by
   */
  launch(
    emulator: string | undefined,
    argv: readonly string[],
    launched?: (handle: string) => void,
  ): Promise<Emulator>;
  /** Finds an emulator that an earlier process launched; undefined if it has ended. Left out where none outlive it. */
  attach?(handle: string): Promise<Emulator | undefined>;
  /** Ends every emulator that it launched and removes its sockets. Idempotent. */
  close(): Promise<void>;
}
