/** A running domain over the fake driver, and the refusals it gives. */
import { expect } from 'vitest';
import {
  BlockCommitFlags,
  type Connection,
  type Domain,
  EventId,
  openConnection,
  VirtError,
} from '../../../src/index.ts';
import { FakeDriver, type FakeMachine } from './fake-driver.ts';

export const UUID = '00000000-0000-4000-8000-000000000001';

/** A `<disk>`; an empty path leaves the source out. */
export function diskXml(
  target: string,
  path: string,
  { format = 'qcow2', bus = 'virtio', device = 'disk', extra = '' } = {},
): string {
  const source = path === '' ? '' : `<source file='${path}'/>`;
  return `<disk type='file' device='${device}'><driver name='qemu' type='${format}'/>${source}<target dev='${target}' bus='${bus}'/>${extra}</disk>`;
}

const CDROM = { format: 'raw', bus: 'ide', device: 'cdrom', extra: '<readonly/>' };

export const cdromXml = (path: string, target = 'hda'): string => diskXml(target, path, CDROM);

/**
 * Disks: vda has three images with absolute names, vdc three with relative ones, vdb one; hda holds a medium, hdc none;
 * vdr is read-only, vds shareable, vdt transient, sdd on a bus that block jobs refuse.
 */
export const DISKS = [
  diskXml('vda', '/img/top'),
  diskXml('vdb', '/img/other'),
  diskXml('vdc', '/rel/top'),
  diskXml('vdr', '/img/ro', { extra: '<readonly/>' }),
  diskXml('vds', '/img/shared', { format: 'raw', extra: '<shareable/>' }),
  diskXml('vdt', '/img/transient', { extra: '<transient/>' }),
  diskXml('sdd', '/img/card', { bus: 'sd' }),
  cdromXml('/img/cd'),
  cdromXml('', 'hdc'),
].join('');

export const domainXml = (disks = DISKS, name = 'vm', uuid = UUID): string =>
  `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>${disks}</devices></domain>`;

/** What a test has at hand. */
export interface Lab {
  readonly driver: FakeDriver;
  readonly connection: Connection;
  readonly domain: Domain;
  readonly machine: FakeMachine;
  /** What the events told, in order. */
  readonly seen: string[];
  /** libvirt's index of an image. */
  index(path: string): number;
}

function images(driver: FakeDriver): void {
  driver.chain('/img/top', '/img/mid', '/img/base');
  driver.chain('/rel/top', '/rel/mid', '/rel/base');
  for (const name of ['top', 'mid']) {
    const path = `/rel/${name}`;
    const info = driver.images.get(path);
    const below = name === 'top' ? 'mid' : 'base';
    if (info)
      driver.images.set(path, { ...info, backing: { path: `/rel/${below}`, name: below, format: 'qcow2' } });
  }
  for (const name of ['other', 'ro', 'shared', 'transient', 'card', 'cd', 'cd2', 'more']) {
    driver.chain(`/img/${name}`);
  }
}

/** Boots a domain; `persistent`: it is defined as well. */
export async function boot({ persistent = false, disks = DISKS } = {}): Promise<Lab> {
  const driver = new FakeDriver();
  images(driver);
  const connection = openConnection({ uri: 'fake:///', driver, saveDirectory: '/save' });
  const seen: string[] = [];
  const tell = (text: string): void => void seen.push(text);
  connection.domainEventRegister(EventId.LIFECYCLE, null, (e) => tell(`life ${e.event} ${e.detail}`));
  connection.domainEventRegister(EventId.BLOCK_JOB, null, (e) =>
    tell(`path ${e.disk} ${e.type} ${e.status}`),
  );
  connection.domainEventRegister(EventId.BLOCK_JOB_2, null, (e) =>
    tell(`disk ${e.disk} ${e.type} ${e.status}`),
  );
  connection.domainEventRegister(EventId.BLOCK_THRESHOLD, null, (e) =>
    tell(`threshold ${e.device} ${e.path} ${e.threshold} ${e.excess}`),
  );
  connection.domainEventRegister(EventId.DEVICE_ADDED, null, (e) => tell(`added ${e.deviceAlias}`));
  connection.domainEventRegister(EventId.DEVICE_REMOVED, null, (e) => tell(`removed ${e.deviceAlias}`));
  connection.domainEventRegister(EventId.IO_ERROR, null, (e) =>
    tell(`io ${e.sourcePath} ${e.deviceAlias} ${e.action}`),
  );
  connection.domainEventRegister(EventId.IO_ERROR_REASON, null, (e) => tell(`io-reason ${e.reason}`));
  connection.domainEventRegister(EventId.DISK_CHANGE, null, (e) =>
    tell(`change ${e.oldSourcePath} ${e.newSourcePath} ${e.deviceAlias} ${e.reason}`),
  );
  connection.domainEventRegister(EventId.REBOOT, null, () => tell('reboot'));
  if (persistent) await connection.defineXML(domainXml(disks));
  const domain = persistent
    ? await connection.lookupByName('vm')
    : await connection.createXML(domainXml(disks));
  if (persistent) await domain.create();
  return {
    driver,
    connection,
    domain,
    seen,
    machine: machineOf(driver),
    index: (path) => indexOf(driver, path),
  };
}

/** The machine that was started last. */
export function machineOf(driver: FakeDriver): FakeMachine {
  const machine = driver.machines.at(-1);
  if (!machine) throw new Error('no machine was started');
  return machine;
}

function indexOf(driver: FakeDriver, path: string): number {
  const chains = machineOf(driver).spec.disks.flatMap(({ chain }) => chain);
  const image = chains.find((candidate) => candidate.path === path);
  if (!image) throw new Error(`no image ${path}`);
  return image.index;
}

/** Code, domain and message of a refusal; undefined if there was none. */
export async function refusal(
  promise: Promise<unknown>,
): Promise<readonly [number, number, string] | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(VirtError);
    const { code, domain, message } = error as VirtError;
    return [code, domain, message];
  }
}

/** A job that runs on vda, by libvirt's kinds; resolves to its id. */
export type JobKind = 'copy' | 'ready copy' | 'active commit' | 'ready active commit' | 'pull' | 'commit';
export const MIRRORS: readonly JobKind[] = ['copy', 'ready copy', 'active commit', 'ready active commit'];
export const PLAIN: readonly JobKind[] = ['pull', 'commit'];
export const COPY = "<disk type='file'><driver type='qcow2'/><source file='/img/copy'/></disk>";

/** Starts a job on vda. */
export async function startJob({ domain, machine, index }: Lab, kind: JobKind): Promise<string> {
  const active = index('/img/top');
  if (kind.endsWith('active commit')) await domain.blockCommit('vda', null, null, 0, BlockCommitFlags.ACTIVE);
  else if (kind.endsWith('copy')) await domain.blockCopy('vda', COPY, {}, 4);
  else if (kind === 'pull') await domain.blockPull('vda');
  else await domain.blockCommit('vda', null, '/img/mid');
  const ids: Record<JobKind, string> = {
    copy: `copy-vda-libvirt-${active}-format`,
    'ready copy': `copy-vda-libvirt-${active}-format`,
    'active commit': `commit-vda-libvirt-${active}-format`,
    'ready active commit': `commit-vda-libvirt-${active}-format`,
    pull: `pull-vda-libvirt-${active}-format`,
    commit: `commit-vda-libvirt-${index('/img/mid')}-format`,
  };
  if (kind.startsWith('ready')) machine.emit({ type: 'job-ready', id: ids[kind] });
  return ids[kind];
}
