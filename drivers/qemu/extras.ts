/** What a machine can do besides block jobs, where its dialect and its host can. */
import type { DiskSpec, ImageRef, MachineExtras } from '../../src/driver.ts';
import { ErrorCode, VirtError } from '../../src/errors.ts';
import { assert } from '../../src/util/assert.ts';
import { deviceOptions } from './arguments.ts';
import type { Dialect, Geometry } from './dialects/dialect.ts';
import { systemError } from './errors.ts';
import type { HostFiles } from './host.ts';
import { awaitMigration, saveUri } from './migration.ts';
import { monitorCommand } from './monitor-command.ts';
import type { QmpClient } from './qmp-client.ts';
import { frameHeader } from './saved-state.ts';
import type { StepRunner } from './steps.ts';

/** What the extras need of the machine that they belong to. */
export interface ExtrasContext {
  readonly client: QmpClient;
  readonly dialect: Dialect;
  readonly files: HostFiles;
  readonly steps: StepRunner;
  /** By target; changed by attaching and by changing media. */
  readonly disks: Map<string, DiskSpec>;
  /** Notes that QEMU has images open for a disk. */
  readonly opened: (disk: string, images: readonly ImageRef[]) => void;
}

/** Builds what can be had; the rest is left out. */
export function createExtras(context: ExtrasContext): MachineExtras {
  return {
    ...diskExtras(context),
    ...saving(context),
    ...snapshots(context),
    reset: () => execute(context, 'system_reset'),
  };
}

async function execute({ client }: ExtrasContext, command: string): Promise<void> {
  await client.execute(command);
}

function diskExtras(context: ExtrasContext): MachineExtras {
  const { client, steps, disks, opened } = context;
  const { extras } = context.dialect;
  if (extras === undefined) return {};
  return {
    async resizeDisk(_disk, image, sizeBytes) {
      await client.call(extras.resize(image, sizeBytes));
    },
    async setWriteThreshold(image, thresholdBytes) {
      await client.call(extras.writeThreshold(image, thresholdBytes));
    },
    async changeBitmaps(changes) {
      await steps.run(extras.changeBitmaps(changes));
    },
    bitmaps: () => steps.ask(extras.bitmaps()),
    async setDiskLimits(target, limits) {
      await client.call(extras.limit(diskOf(context, target), limits));
    },
    async diskLimits(target) {
      const found = (await steps.ask(extras.limits())).get(diskOf(context, target).alias);
      return found ?? { values: {}, group: undefined };
    },
    async snapshot(overlays) {
      const sizes = new Map<number, Geometry>();
      for (const { active, reuse } of overlays) {
        if (!reuse) sizes.set(active.index, await steps.ask(extras.geometry(active)));
      }
      const kindOf = await kindsOf(
        context,
        overlays.map(({ overlay }) => overlay),
      );
      await steps.run(extras.snapshot(overlays, ({ index }) => sizes.get(index), kindOf));
      for (const { disk, overlay } of overlays) opened(disk, [overlay]);
    },
    async attachDisk(disk) {
      const kindOf = await kindsOf(context, disk.chain);
      const drive = context.dialect.driveName(disk);
      await steps.run(extras.attach(disk, deviceOptions(disk, drive), kindOf));
      if (disk.limits && disk.chain.length > 0) await client.call(extras.limit(disk, disk.limits));
      disks.set(disk.target, disk);
      opened(disk.target, disk.chain);
    },
    async detachDisk(target) {
      await client.call(extras.detach(diskOf(context, target)));
    },
    async changeMedium(target, chain, force) {
      const disk = diskOf(context, target);
      const kindOf = await kindsOf(context, chain);
      await steps.run(extras.changeMedium(disk, chain, force, kindOf));
      disks.set(target, { ...disk, chain });
      opened(target, chain);
    },
  };
}

function saving({ client, dialect, files }: ExtrasContext): MachineExtras {
  const { writeText } = files;
  if (writeText === undefined || dialect.extras === undefined) return {};
  return {
    async save(path, header) {
      await writeText(path, frameHeader(header)).catch((cause: unknown) => {
        throw systemError(`Failed to create file '${path}'`, cause);
      });
      try {
        await awaitMigration(client, { execute: 'migrate', arguments: { uri: saveUri(path) } });
      } catch (error) {
        await files.remove(path);
        const detail = error instanceof VirtError ? error.detail : String(error);
        throw new VirtError(ErrorCode.OPERATION_FAILED, `domain save job: ${detail}`, { cause: error });
      }
    },
  };
}

/** The human monitor says nothing where all is well. */
function snapshots({ client, dialect }: ExtrasContext): MachineExtras {
  if (dialect.extras === undefined) return {};
  const say = async (verb: string, name: string, failure: string) => {
    const line = `${verb} "${name.replace(/["\\]/g, '\\$&')}"`;
    const said = (await monitorCommand(client, line, true)).trim();
    if (said !== '') throw new VirtError(ErrorCode.OPERATION_FAILED, `${failure}: ${said}`);
  };
  return {
    saveSnapshot: (name) => say('savevm', name, 'Failed to take snapshot'),
    deleteSnapshot: (name) => say('delvm', name, 'Failed to delete snapshot'),
  };
}

function diskOf({ disks }: ExtrasContext, target: string): DiskSpec {
  const disk = disks.get(target);
  assert(disk !== undefined, `the machine has no disk '${target}'`);
  return disk;
}

async function kindsOf({ files }: ExtrasContext, images: readonly ImageRef[]) {
  const kinds = new Map<string, 'file' | 'block'>();
  for (const { path } of images) kinds.set(path, (await files.stat(path))?.kind ?? 'file');
  return ({ path }: ImageRef) => kinds.get(path) ?? 'file';
}
