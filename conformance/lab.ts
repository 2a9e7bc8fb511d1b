/** A domain whose disk stands on a chain of images that name each other relatively, for calls about names and sizes. */
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobStatus,
  BlockPullFlags,
  type Connection,
  type Domain,
  type DomainSnapshot,
  EventId,
} from '../src/index.ts';
import { expect } from './expect.ts';
import type { Write } from './target.ts';
import { copyTargetXml, HELD_BYTES_PER_SECOND } from './vm.ts';
import type { WireMessage } from './wire.ts';
import type { World } from './world.ts';
import { type DiskView, domainXml, readDisk } from './xml.ts';

const MIB = 1024 * 1024;
const UUID = '00000000-0000-4000-8000-0000000000aa';
/** The images of vda, the base first. */
export const CHAIN = ['base', 'low', 'mid', 'top'] as const;
/** The capacity of every image of a lab. */
export const CAPACITY_BYTES = 4 * MIB;

/** Further disks that a lab can have, with what is special about them. */
const EXTRA_DISKS = {
  /** A drive with a medium, `one.iso`; `two.iso` is there as well. */
  cdrom: {
    target: 'hda',
    image: 'one.iso',
    bus: 'ide',
    format: 'raw',
    device: 'cdrom',
    extra: '<readonly/>',
  },
  empty: { target: 'hdc', image: '', bus: 'ide', format: 'raw', device: 'cdrom', extra: '<readonly/>' },
  readonly: { target: 'vdr', image: 'read-only', extra: '<readonly/>' },
  shared: { target: 'vds', image: 'shared', format: 'raw', extra: '<shareable/>' },
  /** An image that no disk uses yet. */
  more: { target: '', image: 'more' },
  /** Another process serves it. */
  served: { target: 'vdv', image: '', type: 'vhostuser' },
  sd: { target: 'sdc', image: 'sd', bus: 'sd' },
  transient: { target: 'vdt', image: 'transient', extra: '<transient/>' },
} as const;

/** How a lab is set up. */
export interface LabOptions {
  readonly persistent?: boolean;
  /** The domain is defined and not started. */
  readonly inactive?: boolean;
  /** The images of vda hold data, so that a job can be held back; they name each other absolutely then. */
  readonly data?: boolean;
  readonly disks?: readonly (keyof typeof EXTRA_DISKS)[];
}

/** A job of vda, by its kind; without `ready` a low speed holds it back, which takes a lab with data. */
export type LabJob = 'copy' | 'ready-copy' | 'active-commit' | 'ready-active-commit' | 'pull' | 'commit';

/** What each image of a lab with data holds at least. */
const DATA: Write = { offsetBytes: 0, lengthBytes: MIB, byte: 0x5a };

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
  static async start(world: World, options: LabOptions = {}): Promise<Lab> {
    const { connection } = world;
    await (options.data ? makeData(world) : makeChain(world));
    const disks = (options.disks ?? []).map((name): DiskChoice => EXTRA_DISKS[name]);
    for (const name of ['other', ...disks.map(({ image }) => image)]) {
      if (name !== '')
        await makeImage(world, name, name === 'shared' || name.endsWith('.iso') ? 'raw' : 'qcow2');
    }
    if (options.disks?.includes('cdrom')) await makeImage(world, 'two.iso', 'raw');
    const seen = listen(connection);
    const path = (name: string) => (name === '' ? '' : `${world.session.directory}/${name}`);
    const used = disks.filter(({ target }) => target !== '');
    const extra = used.map(({ target, image, ...rest }) => diskXml(target, path(image), rest));
    const xml = domainXml(
      'lab',
      UUID,
      diskXml('vda', path('top')) + diskXml('vdb', path('other')) + extra.join(''),
      options.disks?.includes('served') ? "<memoryBacking><access mode='shared'/></memoryBacking>" : '',
    );
    if (!options.persistent && !options.inactive)
      return new Lab(world, await connection.createXML(xml), seen);
    const domain = await connection.defineXML(xml);
    if (!options.inactive) await domain.create();
    return new Lab(world, domain, seen);
  }

  /** libvirt's and QEMU's name of the job that {@link Lab.startJob} started. */
  jobName = '';

  /** Starts a job of vda. */
  async startJob(job: LabJob): Promise<void> {
    const { domain } = this;
    const isReady = job.startsWith('ready-');
    // A booting firmware resets its disks, and in some QEMUs that cuts short the sleep of a throttled job.
    if (!isReady) await domain.suspend();
    const [top, mid] = [...(await domain.getXMLDesc()).matchAll(/index='(\d+)'/g)].map(([, index]) => index);
    const speed = isReady ? 0 : HELD_BYTES_PER_SECOND;
    this.jobName = {
      copy: `copy-vda-libvirt-${top}-format`,
      pull: `pull-vda-libvirt-${top}-format`,
      commit: `commit-vda-libvirt-${job === 'commit' ? mid : top}-format`,
    }[JOB_OF[job].call];
    await JOB_OF[job].start(this, speed);
    if (isReady) await this.ready();
  }

  /** Sends a QMP command past the API. */
  async monitor(command: string, args?: Readonly<Record<string, unknown>>): Promise<string> {
    return this.domain.qemuMonitorCommand(
      JSON.stringify({ execute: command, ...(args && { arguments: args }) }),
    );
  }

  /** Puts faults in force; needs the capability `faults`. */
  async addFaults(...faults: readonly WireMessage[]): Promise<void> {
    await this.control({ control: 'add-faults', faults: [...faults] });
  }

  /** Asks the machine for what only a simulation can do; needs the capability `faults`. */
  async control(request: WireMessage): Promise<void> {
    const { control } = this.world.session;
    expect(control, 'the target says that it takes faults, and its sessions have no control');
    await control(this.domain.name, request);
  }

  /** The domain's XML, or that it is gone. */
  async stateXml(): Promise<string> {
    return this.domain.getXMLDesc().catch((error: unknown) => String(error));
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
  connection.domainEventRegister(EventId.IO_ERROR, null, ({ sourcePath, deviceAlias, action }) =>
    tell(`io ${sourcePath} ${deviceAlias} ${action}`),
  );
  connection.domainEventRegister(EventId.IO_ERROR_REASON, null, ({ reason }) => tell(`reason ${reason}`));
  connection.domainEventRegister(EventId.REBOOT, null, () => tell('reboot'));
  connection.domainEventRegister(EventId.BLOCK_THRESHOLD, null, ({ device }) => tell(`threshold ${device}`));
  connection.domainEventRegister(EventId.DEVICE_ADDED, null, ({ deviceAlias }) =>
    tell(`added ${deviceAlias}`),
  );
  connection.domainEventRegister(EventId.DEVICE_REMOVED, null, ({ deviceAlias }) =>
    tell(`removed ${deviceAlias}`),
  );
  return seen;
}

interface DiskChoice {
  readonly target: string;
  readonly image: string;
  readonly bus?: string;
  readonly format?: string;
  readonly device?: string;
  readonly extra?: string;
  readonly type?: string;
}

/** How each job is started, at a speed in bytes per second. */
const JOB_OF: Readonly<
  Record<LabJob, { readonly call: 'copy' | 'pull' | 'commit'; start(lab: Lab, speed: number): Promise<void> }>
> = {
  copy: { call: 'copy', start: startCopy },
  'ready-copy': { call: 'copy', start: startCopy },
  'active-commit': { call: 'commit', start: startActiveCommit },
  'ready-active-commit': { call: 'commit', start: startActiveCommit },
  pull: {
    call: 'pull',
    start: ({ domain }, speed) => domain.blockPull('vda', speed, BlockPullFlags.BANDWIDTH_BYTES),
  },
  commit: {
    call: 'commit',
    start: (lab, speed) =>
      lab.domain.blockCommit('vda', null, lab.path('mid'), speed, BlockCommitFlags.BANDWIDTH_BYTES),
  },
};

function startCopy(lab: Lab, bandwidth: number): Promise<void> {
  const flags = lab.domain.isPersistent() ? BlockCopyFlags.TRANSIENT_JOB : 0;
  return lab.domain.blockCopy('vda', copyTargetXml(lab.path('copy'), 'qcow2'), { bandwidth }, flags);
}

function startActiveCommit({ domain }: Lab, speed: number): Promise<void> {
  return domain.blockCommit(
    'vda',
    null,
    null,
    speed,
    BlockCommitFlags.ACTIVE | BlockCommitFlags.BANDWIDTH_BYTES,
  );
}

async function makeImage(world: World, name: string, format: string, backing?: string): Promise<void> {
  const { connection, session } = world;
  const image = { path: `${session.directory}/${name}`, format, capacityBytes: CAPACITY_BYTES };
  await connection.volumes.create(
    backing ? { ...image, backing: { path: backing, format: 'qcow2' } } : image,
  );
}

async function makeChain(world: World): Promise<void> {
  for (const [depth, name] of CHAIN.entries()) await makeImage(world, name, 'qcow2', CHAIN[depth - 1]);
}

/** The chain with data in each of its images, each in a place of its own, as much as a throttled job needs to be held back. */
async function makeData({ session }: World): Promise<void> {
  const { ballastBytes = 0 } = session.limits ?? {};
  const lengthBytes = DATA.lengthBytes + ballastBytes;
  for (const [depth, name] of CHAIN.entries()) {
    const below = CHAIN[depth - 1];
    await session.createImage({
      path: `${session.directory}/${name}`,
      format: 'qcow2',
      capacityBytes: CHAIN.length * lengthBytes,
      writes: [{ ...DATA, offsetBytes: depth * lengthBytes, lengthBytes }],
      ...(below && { backing: { path: `${session.directory}/${below}`, format: 'qcow2' } }),
    });
  }
}

/** A disk of a domain: virtio and qcow2, unless it is told otherwise. An empty path leaves the source out. */
export function diskXml(
  target: string,
  path: string,
  { bus = 'virtio', format = 'qcow2', device = 'disk', extra = '', type = 'file' }: Partial<DiskChoice> = {},
): string {
  const local = path === '' ? '' : `<source file='${path}'/>`;
  const source = type === 'vhostuser' ? "<source type='unix' path='/none.sock'/>" : local;
  return `<disk type='${type}' device='${device}'><driver name='qemu' type='${format}'/>${source}<target dev='${target}' bus='${bus}'/>${extra}</disk>`;
}
