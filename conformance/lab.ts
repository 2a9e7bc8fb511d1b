/** A domain whose disk stands on a chain of images that name each other relatively, for calls about names and sizes. */
import { BlockJobStatus, type Connection, type Domain, type DomainSnapshot, EventId } from '../src/index.ts';
import { copyTargetXml } from './vm.ts';
import type { World } from './world.ts';
import { type DiskView, readDisk } from './xml.ts';

const MIB = 1024 * 1024;
const UUID = '00000000-0000-4000-8000-0000000000aa';
/** The images of vda, the base first. */
export const CHAIN = ['base', 'low', 'mid', 'top'] as const;
/** The capacity of every image of a lab. */
export const CAPACITY_BYTES = 4 * MIB;

/** How a lab is set up. */
export interface LabOptions {
  readonly persistent?: boolean;
  /** The domain is defined and not started. */
  readonly inactive?: boolean;
}

/** The domain, its images, and what its events told. */
export class Lab {
  readonly world: World;
  readonly domain: Domain;
  /** `job TARGET TYPE STATUS`, `threshold DEVICE`, `added ALIAS`, ... in order. */
  readonly seen: readonly string[];

  private constructor(world: World, domain: Domain, seen: readonly string[]) {
    this.world = world;
    this.domain = domain;
    this.seen = seen;
  }

  /** Makes the images and the domain; vda has {@link CHAIN}, vdb one image of its own. */
  static async start(world: World, { persistent = false, inactive = false }: LabOptions = {}): Promise<Lab> {
    const { connection, session } = world;
    const path = (name: string) => `${session.directory}/${name}`;
    for (const [depth, name] of CHAIN.entries()) {
      const below = CHAIN[depth - 1];
      const image = { path: path(name), format: 'qcow2', capacityBytes: CAPACITY_BYTES };
      await connection.volumes.create(
        below ? { ...image, backing: { path: below, format: 'qcow2' } } : image,
      );
    }
    await connection.volumes.create({ path: path('other'), format: 'qcow2', capacityBytes: CAPACITY_BYTES });
    const seen = listen(connection);
    const xml = domainXml(diskXml('vda', path('top')) + diskXml('vdb', path('other')));
    if (!persistent && !inactive) return new Lab(world, await connection.createXML(xml), seen);
    const domain = await connection.defineXML(xml);
    if (!inactive) await domain.create();
    return new Lab(world, domain, seen);
  }

  path(name: string): string {
    return `${this.world.session.directory}/${name}`;
  }

  /** Copies vda to `copy`. */
  copy(flags = 0, name = 'copy', format = 'qcow2'): Promise<void> {
    return this.domain.blockCopy('vda', copyTargetXml(this.path(name), format), {}, flags);
  }

  /** The last part of each path of a disk's chain, active first. */
  async chain(disk = 'vda'): Promise<string[]> {
    return (await this.view(disk)).chain.map((path) => path.slice(path.lastIndexOf('/') + 1));
  }

  async view(disk = 'vda'): Promise<DiskView> {
    return readDisk(await this.domain.getXMLDesc(), disk);
  }

  /** Waits for READY of the job of vda. */
  async ready(): Promise<void> {
    await this.until(
      'READY',
      (line) => line.startsWith('job vda ') && line.endsWith(` ${BlockJobStatus.READY}`),
    );
  }

  /** Waits until a disk has no job. */
  async idle(disk = 'vda'): Promise<void> {
    await this.world.until(
      'the end of the job',
      async () => (await this.domain.getBlockJobInfo(disk)) === null,
    );
  }

  /** Waits for an event. */
  async until(what: string, isIt: (line: string) => boolean): Promise<void> {
    await this.world.until(what, () => this.seen.some(isIt));
  }

  /** The backing file's name as the header of an image has it. */
  async backingName(name: string): Promise<string | undefined> {
    const header = await this.world.connection.volumes.inspect(this.path(name), 'qcow2');
    return header.backing?.name;
  }

  /** Which of some files exist. */
  async present(names: readonly string[] = CHAIN): Promise<string[]> {
    const found: string[] = [];
    for (const name of names)
      if ((await this.world.connection.volumes.stat(this.path(name))) !== undefined) found.push(name);
    return found;
  }

  /** Takes a disk-only snapshot of vda alone. */
  snapshot(flags: number, name = 'snap'): Promise<DomainSnapshot> {
    return this.domain.snapshotCreateXML(
      `<domainsnapshot><name>${name}</name><disks><disk name='vda' snapshot='external'><source file='${this.path(name)}'/></disk><disk name='vdb' snapshot='no'/></disks></domainsnapshot>`,
      flags,
    );
  }
}

function listen(connection: Connection): string[] {
  const seen: string[] = [];
  const tell = (text: string): void => void seen.push(text);
  connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ disk, type, status }) =>
    tell(`job ${disk} ${type} ${status}`),
  );
  connection.domainEventRegister(EventId.LIFECYCLE, null, ({ event, detail }) =>
    tell(`life ${event} ${detail}`),
  );
  connection.domainEventRegister(EventId.BLOCK_THRESHOLD, null, ({ device }) => tell(`threshold ${device}`));
  connection.domainEventRegister(EventId.DEVICE_ADDED, null, ({ deviceAlias }) =>
    tell(`added ${deviceAlias}`),
  );
  connection.domainEventRegister(EventId.DEVICE_REMOVED, null, ({ deviceAlias }) =>
    tell(`removed ${deviceAlias}`),
  );
  return seen;
}

/** A virtio disk of a domain. */
export function diskXml(target: string, path: string): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`;
}

function domainXml(disks: string): string {
  return `<domain type='qemu'><name>lab</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>${disks}</devices></domain>`;
}
