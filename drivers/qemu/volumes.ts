/** Image files: made and read by an emulator without a guest, listed and removed by the host. */
import type { ImageRef, VolumeInfo, VolumeSpec, Volumes } from '../../src/driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../../src/errors.ts';
import type { Query } from './dialects/dialect.ts';
import { formatSteps, recordsBacking } from './dialects/nodes.ts';
import { numberOf, objectsOf, optionalText, systemError } from './errors.ts';
import type { HelperSession } from './helper.ts';
import type { HostFiles } from './host.ts';
import { isQmpObject, member, type QmpObject } from './qmp-json.ts';

const STORAGE = { domain: ErrorDomain.STORAGE } as const;

/** Volumes of a host. `helper` gives an emulator that can handle images; it is asked on first use. */
export function createVolumes(helper: () => Promise<HelperSession>, files: HostFiles): Volumes {
  let lastIndex = 0;
  const nextImage = ({ path, format }: { path: string; format: string }): ImageRef => {
    lastIndex += 1;
    return { index: lastIndex, path, format };
  };
  return {
    async create(spec) {
      const session = await helper();
      await files.createEmpty(spec.path).catch((cause: unknown) => {
        throw systemError(`failed to create image '${spec.path}'`, cause, STORAGE);
      });
      try {
        await format(session, nextImage(spec), spec);
      } catch (error) {
        await files.remove(spec.path);
        throw error;
      }
    },
    async inspect(path, imageFormat) {
      const found = await stat(files, path);
      if (found === undefined) {
        const missing = Object.assign(new Error('nothing is at the path'), { code: 'ENOENT' });
        throw systemError(`Cannot access storage file '${path}'`, missing, STORAGE);
      }
      return inspect(await helper(), nextImage({ path, format: imageFormat }), found.kind);
    },
    stat: (path) => stat(files, path),
    ...(files.snapshot && { snapshot: snapshots(files.snapshot) }),
    remove: (path) =>
      files.remove(path).catch((cause: unknown) => {
        throw systemError(`failed to remove '${path}'`, cause, STORAGE);
      }),
  };
}

const LETTER = { create: 'c', apply: 'a', delete: 'd' } as const;

/** libvirt has qemu-img do it, and quotes that. */
function snapshots(change: NonNullable<HostFiles['snapshot']>): NonNullable<Volumes['snapshot']> {
  return async (verb, path, imageFormat, name) => {
    try {
      await change(verb, path, imageFormat, name);
    } catch (cause) {
      const what = `qemu-img snapshot -${LETTER[verb]} ${name} ${path}`;
      const said = cause instanceof Error ? cause.message : String(cause);
      const detail = `Child process (${what}) unexpected exit status 1: qemu-img: ${said}`;
      throw new VirtError(ErrorCode.INTERNAL_ERROR, detail, { domain: ErrorDomain.NONE, cause });
    }
  };
}

function stat(files: HostFiles, path: string): ReturnType<HostFiles['stat']> {
  return files.stat(path).catch((cause: unknown) => {
    throw systemError(`Cannot access storage file '${path}'`, cause, STORAGE);
  });
}

async function format({ steps }: HelperSession, image: ImageRef, spec: VolumeSpec): Promise<void> {
  const { capacityBytes, backing } = spec;
  const content = backing === undefined ? { capacityBytes } : { capacityBytes, backing };
  const close = await steps.run(formatSteps(image, 'file', content));
  const failure = await close();
  if (failure !== undefined) throw failure;
}

async function inspect(
  { client, steps }: HelperSession,
  { path, format: driver, index }: ImageRef,
  kind: 'file' | 'block',
): Promise<VolumeInfo> {
  const name = `inspect-${index}`;
  await client.execute('blockdev-add', {
    driver,
    'node-name': name,
    'read-only': true,
    // Others may be writing to it: take no lock, and believe nothing but the header.
    'force-share': true,
    ...member('backing', recordsBacking(driver) ? null : undefined),
    file: { driver: kind === 'file' ? 'file' : 'host_device', filename: path },
  });
  try {
    const image = await steps.ask(imageOf(name));
    return infoOf(path, driver, image);
  } finally {
    await client.execute('blockdev-del', { 'node-name': name });
  }
}

/** What QEMU says of the image of one node. */
function imageOf(name: string): Query<QmpObject> {
  const execute = 'query-named-block-nodes';
  return {
    call: { execute },
    walksNodes: true,
    read(reply) {
      const image = objectsOf(reply, execute).find((node) => node['node-name'] === name)?.image;
      return isQmpObject(image) ? image : {};
    },
  };
}

function infoOf(path: string, format: string, image: QmpObject): VolumeInfo {
  const capacityBytes = numberOf(image, 'virtual-size', 'query-named-block-nodes');
  const name = optionalText(image, 'backing-filename');
  if (name === undefined) return { path, format, capacityBytes };
  const backing = { path: optionalText(image, 'full-backing-filename') ?? name, name };
  const recorded = optionalText(image, 'backing-filename-format');
  return {
    path,
    format,
    capacityBytes,
    backing: recorded === undefined ? backing : { ...backing, format: recorded },
  };
}
