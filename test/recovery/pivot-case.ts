/** One pivot, cut off at one effect of the management process or at one named point of QEMU, and what is found after. */
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { createStoreImage, storeContents } from '../../entry/targets/store-images.ts';
import {
  BlockCommitFlags,
  BlockJobAbortFlags,
  type BlockJobOutcome,
  BlockJobStatus,
  type Connection,
  type Domain,
  EventId,
  isVirtError,
  type StateStore,
} from '../../src/index.ts';
import { WritingGuest } from './guest.ts';
import { type Life, Site, type Victim } from './life.ts';

export const KINDS = ['copy', 'active-commit'] as const;

/** What is done, and who dies when. */
export interface PivotCase {
  readonly kind: (typeof KINDS)[number];
  readonly disks: number;
  readonly pause: boolean;
  /** Which QEMU; the default one when left out. */
  readonly profile?: string;
  /** undefined: nobody dies. */
  readonly crash?: { readonly at: number; readonly victim: Victim };
  /** A named point at which QEMU dies; with `both`, the management process follows at once. */
  readonly point?: string;
  readonly wrapState?: (store: StateStore) => StateStore;
}

/** What was found. */
export interface Found {
  /** Effects from the first pivot's request to the last one's end. */
  readonly effects: number;
  readonly unknown: number;
  /** What was not as it has to be, one line each. */
  readonly wrong: readonly string[];
}

const CAPACITY = 1 << 20;
const UUID = '00000000-0000-4000-8000-00000000abcd';

/** The two images of a disk's job. */
const sourceOf = (disk: number): string => `/img/${disk}-top`;
const destinationOf = ({ kind }: PivotCase, disk: number): string =>
  kind === 'copy' ? `/img/${disk}-copy` : `/img/${disk}-base`;
const targetOf = (disk: number): string => `vd${'abc'[disk]}`;

function xmlOf({ disks }: PivotCase): string {
  const elements = Array.from(
    { length: disks },
    (_, disk) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${sourceOf(disk)}'/><target dev='${targetOf(disk)}' bus='virtio'/></disk>`,
  );
  return `<domain type='qemu'><name>vm</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>${elements.join('')}</devices></domain>`;
}

function makeImages(site: Site, test: PivotCase): void {
  for (let disk = 0; disk < test.disks; disk++) {
    const base = { path: `/img/${disk}-base`, format: 'qcow2' } as const;
    const image = { capacityBytes: CAPACITY, format: 'qcow2', writes: [] } as const;
    if (test.kind === 'active-commit') createStoreImage(site.world.store, { ...image, ...base });
    createStoreImage(site.world.store, {
      ...image,
      path: sourceOf(disk),
      ...(test.kind === 'active-commit' && { backing: base }),
    });
  }
}

const sleep = (site: Site, ms: number): Promise<void> =>
  new Promise((resolve) => void site.world.timers.after(ms, resolve));

/** Starts the jobs and waits for READY. */
async function mirror(connection: Connection, domain: Domain, test: PivotCase): Promise<void> {
  let ready = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  connection.domainEventRegister(EventId.BLOCK_JOB_2, null, ({ status }) => {
    if (status === BlockJobStatus.READY && ++ready === test.disks) resolve();
  });
  for (let disk = 0; disk < test.disks; disk++) {
    const to = `<disk type='file'><driver type='qcow2'/><source file='${destinationOf(test, disk)}'/></disk>`;
    if (test.kind === 'copy') await domain.blockCopy(targetOf(disk), to);
    else await domain.blockCommit(targetOf(disk), null, null, 0, BlockCommitFlags.ACTIVE);
  }
  await promise;
}

/** What each pivot's caller was told; undefined: nothing, or that it is not known. */
async function pivotAll(
  site: Site,
  life: Life,
  domain: Domain,
  test: PivotCase,
): Promise<(boolean | undefined)[]> {
  const told: (boolean | undefined)[] = [];
  for (let disk = 0; disk < test.disks && life.alive; disk++) {
    const pivot = domain.blockJobAbort(targetOf(disk), BlockJobAbortFlags.PIVOT).then(
      () => true,
      (error: unknown) => {
        if (!isVirtError(error)) throw error;
        return undefined;
      },
    );
    const settled = await Promise.race([pivot.then((answer) => ({ answer })), life.died]);
    if (settled?.answer !== undefined && life.alive) told[disk] = settled.answer;
  }
  await sleep(site, 20);
  return told;
}

/** Runs a case on a simulation of its own. */
export async function runPivotCase(test: PivotCase, probes: ProbeCache): Promise<Found> {
  const site = new Site(1, probes, test.profile);
  const { pause: pauseGuestAroundPivot, wrapState } = test;
  const options = { pauseGuestAroundPivot, ...(wrapState && { wrapState }) };
  makeImages(site, test);
  const life = await site.begin(options);
  const domain = await life.connection.createXML(xmlOf(test));
  await mirror(life.connection, domain, test);
  const guests = Array.from(
    { length: test.disks },
    (_, disk) => new WritingGuest(site, `virtio-disk${disk}`),
  );
  const running = guests.map((guest) => guest.run());
  const before = life.effects;
  if (test.crash) life.crashAfter(test.crash.at, test.crash.victim);
  if (test.point)
    site.qemu.control({ control: 'add-faults', faults: [{ at: test.point, do: 'crash', times: 1 }] });
  const told = await pivotAll(site, life, domain, test);
  const effects = life.effects - before;
  const wrong: string[] = [];
  const live = life.alive ? life.connection.listBlockJobOutcomes() : undefined;
  life.die();
  const next = await site.begin({ pauseGuestAroundPivot });
  await sleep(site, 50);
  for (const guest of guests) guest.stop();
  await sleep(site, 20);
  await Promise.all(running);
  const outcomes = next.connection.listBlockJobOutcomes();
  if (live && site.qemu.hasExited() && JSON.stringify(live) !== JSON.stringify(outcomes)) {
    wrong.push(`told ${JSON.stringify(live)} before the restart and ${JSON.stringify(outcomes)} after it`);
  }
  for (const [disk, guest] of guests.entries()) {
    wrong.push(...(await check(site, next, test, { disk, guest, told: told[disk], outcomes })));
  }
  const unknown = outcomes.filter(({ outcome }) => outcome === 'unknown').length;
  if (test.pause && unknown > 0) wrong.push('unknown although the guest was paused');
  next.die();
  site.world.close();
  return { effects, unknown, wrong };
}

interface DiskFound {
  readonly disk: number;
  readonly guest: WritingGuest;
  readonly told: boolean | undefined;
  readonly outcomes: readonly BlockJobOutcome[];
}

async function check(site: Site, life: Life, test: PivotCase, found: DiskFound): Promise<string[]> {
  const target = targetOf(found.disk);
  const source = sourceOf(found.disk);
  const destination = destinationOf(test, found.disk);
  const outcome = found.outcomes.find(({ disk }) => disk === target)?.outcome;
  const wrong: string[] = [];
  if (found.told && outcome !== undefined && outcome !== 'completed') {
    wrong.push(`${target}: the caller was told that it completed, then ${outcome}`);
  }
  const holds = (path: string): boolean => found.guest.isIn(contentsOf(site, path));
  if (!site.qemu.hasExited()) {
    const active = await activeImage(life, target);
    if (!active.runs) wrong.push(`${target}: the guest was left paused`);
    if (active.path !== active.open)
      wrong.push(`${target}: the XML says ${active.path}, QEMU has ${active.open}`);
    if (outcome === 'completed' && active.path !== destination)
      wrong.push(`${target}: completed on ${active.path}`);
    if (outcome === 'failed' && active.path !== source) wrong.push(`${target}: failed on ${active.path}`);
    if (outcome === 'unknown') wrong.push(`${target}: unknown while QEMU can be asked`);
    if (!holds(active.path)) wrong.push(`${target}: a flushed write is not in ${active.path}`);
    return wrong;
  }
  if (outcome === undefined && !found.told) wrong.push(`${target}: nobody tells what became of it`);
  const isIn = outcome === 'failed' ? holds(source) : holds(destination);
  const inEither = holds(source) || holds(destination);
  if (outcome === 'unknown' ? !inEither : !isIn) {
    wrong.push(
      `${target}: ${outcome ?? 'told completed'}, but a flushed write (${found.guest.acknowledged}) is not there`,
    );
  }
  return wrong;
}

/** The active image by the XML and by QEMU, and whether the guest runs. */
async function activeImage(life: Life, target: string) {
  const domain = await life.connection.lookupByName('vm');
  const xml = await domain.getXMLDesc();
  const disk = xml.split('<disk ').find((part) => part.includes(`<target dev='${target}'`)) ?? '';
  const path = /<source file='([^']*)'/.exec(disk)?.[1] ?? '';
  const { return: blocks } = JSON.parse(await domain.qemuMonitorCommand('{"execute":"query-block"}')) as {
    return: { qdev?: string; device: string; inserted: { file: string; image?: { filename: string } } }[];
  };
  const alias = `virtio-disk${target.charCodeAt(2) - 97}`;
  const inserted = blocks.find(({ qdev, device }) => (qdev ?? device).includes(alias))?.inserted;
  const filename = inserted?.image?.filename ?? inserted?.file ?? '';
  const open = /"filename": "([^"]+)"/.exec(filename)?.[1] ?? filename;
  return { path, open, runs: (await domain.getState()).state === 1 };
}

function contentsOf(site: Site, path: string): Uint8Array {
  const bytes = new Uint8Array(CAPACITY);
  if (!site.world.store.exists(path)) return bytes;
  for (const { offsetBytes, lengthBytes, byte } of storeContents(site.world.store, path)) {
    bytes.fill(byte, offsetBytes, offsetBytes + lengthBytes);
  }
  return bytes;
}
