/** A machine's state in a file of its host: written by an outgoing migration, read by an incoming one. */
import { CommandError, refuse } from './errors.ts';
import type { ImageFile, ImageStore } from './images.ts';
import type { Vm } from './vm.ts';

/** QAPI MigrationStatus, as far as it is simulated. */
export type MigrationStatus = 'none' | 'setup' | 'active' | 'completed' | 'failed';

/** Where the migrations of a machine stand. */
export class Migration {
  status: MigrationStatus = 'none';
  error: string | undefined;
  /** Capability `events`. */
  tells = false;
  /** The machine waits for a state before it can run. */
  incoming: 'none' | 'deferred' | 'started' = 'none';
}

const MAGIC = 'mock-qemu-state 1 ';
// What setting up and moving a small machine takes.
const SETUP_NS = 8_000_000;
const MOVE_NS = 40_000_000;

/** A file that a shell's redirection names, quoted for it. */
const FILE = `'((?:[^']|'\\\\'')*)'|([^\\s'"\\\\;&|<>$\`()]+)`;
const OUT = new RegExp(`^exec:cat >> (?:${FILE})$`);
const IN = new RegExp(`^exec:tail -c \\+(\\d+) (?:${FILE})$`);
const unquote = (quoted: string | undefined, bare: string | undefined): string =>
  quoted?.replaceAll("'\\''", "'") ?? bare ?? '';

/** The bytes of a file from an offset on, as text. */
function textFrom({ blobs }: ImageStore, file: ImageFile, start: number): string {
  const bytes: number[] = [];
  for (let at = start; at < file.virtualSizeBytes; ) {
    const { end, tag } = file.extents.at(at, file.virtualSizeBytes);
    for (; at < end; at++) bytes.push(blobs.byteAt(tag, at));
  }
  return String.fromCharCode(...bytes);
}

function append(file: ImageFile, text: string): void {
  let at = file.virtualSizeBytes;
  file.virtualSizeBytes += text.length;
  for (const letter of text) file.extents.set(at, ++at, letter.charCodeAt(0));
  file.save();
}

function enter(vm: Vm, status: MigrationStatus, error?: string): void {
  const { migration } = vm;
  migration.status = status;
  migration.error = error;
  if (migration.tells) vm.emit('MIGRATION', { status });
}

function passes(vm: Vm, pass: number): void {
  if (vm.migration.tells) vm.emit('MIGRATION_PASS', { pass });
}

/** Writes the machine's state to where `uri` leads; of a shell only `cat >>` is simulated. */
export function migrate(vm: Vm, uri: string): void {
  if (vm.runState === 'inmigrate') refuse('Guest is waiting for an incoming migration');
  if (vm.runState === 'postmigrate') refuse("Can't migrate the vm that was paused due to previous migration");
  enter(vm, 'setup');
  if (!uri.startsWith('exec:')) {
    enter(vm, 'failed');
    refuse("Parameter 'uri' expects a valid migration protocol");
  }
  const found = OUT.exec(uri);
  const path = found && unquote(found[1], found[2]);
  vm.clock.after(SETUP_NS, () => {
    passes(vm, 1);
    enter(vm, 'active');
    vm.clock.after(MOVE_NS, () => finishOutgoing(vm, path));
  });
}

function finishOutgoing(vm: Vm, path: string | null): void {
  const file = path === null ? undefined : openOrMake(vm, path);
  if (!file) {
    enter(vm, 'failed', 'Unable to write to command: Broken pipe');
    return;
  }
  passes(vm, 2);
  vm.pause('postmigrate');
  append(file, `${MAGIC}${JSON.stringify({ ranNs: vm.guestClock.ns })}\n`);
  enter(vm, 'completed');
}

function openOrMake({ images }: Vm, path: string): ImageFile | undefined {
  try {
    if (!images.exists(path)) images.createEmpty(path);
    return images.open(path);
  } catch {
    // Whatever it is, the shell says it and goes.
    return undefined;
  }
}

/** Takes over a state from where `uri` leads; a stream that is none ends QEMU. */
export function migrateIncoming(vm: Vm, uri: string): void {
  const { migration } = vm;
  if (migration.incoming === 'none') refuse("'-incoming' was not specified on the command line");
  if (migration.incoming === 'started') refuse('The incoming migration has already been started');
  const found = IN.exec(uri);
  migration.incoming = 'started';
  enter(vm, 'setup');
  vm.clock.after(SETUP_NS, () => {
    enter(vm, 'active');
    const state = found ? readState(vm, unquote(found[2], found[3]), Number(found[1])) : undefined;
    if (state === undefined) failIncoming(vm);
    else vm.clock.after(MOVE_NS, () => finishIncoming(vm, state));
  });
}

function readState(vm: Vm, path: string, firstByte: number): number | undefined {
  try {
    const text = textFrom(vm.images, vm.images.open(path), firstByte - 1);
    if (!text.startsWith(MAGIC)) return undefined;
    const { ranNs } = JSON.parse(text.slice(MAGIC.length)) as { ranNs?: unknown };
    return typeof ranNs === 'number' ? ranNs : undefined;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    return undefined;
  }
}

function failIncoming(vm: Vm): void {
  enter(vm, 'failed');
  vm.options.print('stderr', 'qemu-system-x86_64: Not a migration stream\n');
  vm.options.print('stderr', 'qemu-system-x86_64: load of migration failed: Invalid argument\n');
  vm.options.exit(1, null);
}

function finishIncoming(vm: Vm, ranNs: number): void {
  vm.guestClock.set(ranNs);
  vm.runState = 'paused';
  enter(vm, 'completed');
  if (vm.runsAfterMigration) vm.resume();
}
