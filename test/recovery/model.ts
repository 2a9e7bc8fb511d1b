/**
 * Random sequences of calls, guest writes, crashes and restarts against a plain model of one disk: which image is
 * active, which job runs, what was written. After every step the simulation has to agree with it.
 */
import fc from 'fast-check';
import type { ProbeCache } from '../../drivers/qemu/probe.ts';
import { createStoreImage, storeContents } from '../../entry/targets/store-images.ts';
import { BlockCopyFlags, BlockJobAbortFlags, type Domain, isVirtError } from '../../src/index.ts';
import { type Life, type LifeOptions, Site } from './life.ts';

const UUID = '00000000-0000-4000-8000-00000000beef';
const CAPACITY = 1 << 18;
const SLOTS = 16;
const SLOT_BYTES = CAPACITY / SLOTS;
const DISK = "<target dev='vda' bus='virtio'/>";
const domainXml = (path: string): string =>
  `<domain type='qemu'><name>vm</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>${DISK}</disk></devices></domain>`;

/** What has to be true. */
interface Model {
  /** The domain runs. */
  runs: boolean;
  active: string;
  /** Destination of the copy that is going on. */
  copy: string | undefined;
  images: number;
  /** Byte of each slot. */
  readonly slots: number[];
}

/** The simulation, and the life that drives it now. */
interface Real {
  readonly site: Site;
  life: Life;
}

/** One step; what cannot be done as things are has to be refused. */
interface Step {
  run(model: Model, real: Real): Promise<void>;
  toString(): string;
}

const domainOf = ({ life }: Real): Promise<Domain> => life.connection.lookupByName('vm');

async function settle({ site }: Real, ms = 1): Promise<void> {
  await new Promise<void>((resolve) => void site.world.timers.after(ms, resolve));
}

function fail(what: string): never {
  throw new Error(what);
}

/** Holds the simulation to the model. */
async function agree(model: Model, real: Real): Promise<void> {
  const domain = await domainOf(real);
  if ((await domain.isActive()) !== model.runs) fail(`the domain ${model.runs ? 'does not run' : 'runs'}`);
  const xml = await domain.getXMLDesc();
  const path = /<source file='([^']*)'/.exec(xml)?.[1];
  if (path !== model.active) fail(`the disk uses ${path}, not ${model.active}`);
  if (xml.includes('<mirror') !== (model.copy !== undefined)) fail('the mirror is not what it has to be');
  const contents = new Uint8Array(CAPACITY);
  for (const { offsetBytes, lengthBytes, byte } of storeContents(real.site.world.store, model.active)) {
    contents.fill(byte, offsetBytes, offsetBytes + lengthBytes);
  }
  const wrong = model.slots.findIndex((byte, slot) => contents[slot * SLOT_BYTES] !== byte);
  if (wrong !== -1) fail(`slot ${wrong} holds ${contents[wrong * SLOT_BYTES]}, not ${model.slots[wrong]}`);
}

/** A step that also checks everything after it. */
function step(name: string, run: Step['run']): Step {
  return {
    async run(model, real) {
      await run(model, real);
      await agree(model, real);
    },
    toString: () => name,
  };
}

async function untilReady(real: Real): Promise<void> {
  const domain = await domainOf(real);
  for (let looks = 0; looks < 1000; looks++) {
    const info = await domain.getBlockJobInfo('vda');
    if (!info || info.cur === info.end) return;
    await settle(real, 5);
  }
  fail('the copy never gets ready');
}

async function refused(call: Promise<unknown>): Promise<void> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isVirtError(error)) fail(`not refused with a VirtError: ${String(error)}`);
}

const start = (): Step =>
  step('start', async (model, real) => {
    const call = (await domainOf(real)).create();
    if (model.runs) return refused(call);
    await call;
    model.runs = true;
  });

const write = (slot: number, byte: number): Step =>
  step(`write(${slot}, ${byte})`, async (model, real) => {
    if (!model.runs) return;
    const { qemu } = real.site;
    const disk = 'virtio-disk0';
    qemu.control({
      control: 'guest-io',
      disk,
      op: 'write',
      offset: slot * SLOT_BYTES,
      bytes: SLOT_BYTES,
      byte,
    });
    await settle(real, 20);
    qemu.control({ control: 'guest-io', disk, op: 'flush' });
    await settle(real, 20);
    model.slots[slot] = byte;
  });

const copy = (): Step =>
  step('copy', async (model, real) => {
    const domain = await domainOf(real);
    const path = `/img/${model.images}`;
    const xml = `<disk type='file'><driver type='qcow2'/><source file='${path}'/></disk>`;
    const call = domain.blockCopy('vda', xml, {}, BlockCopyFlags.TRANSIENT_JOB);
    if (!model.runs || model.copy !== undefined) return refused(call);
    await call;
    model.images += 1;
    model.copy = path;
  });

const abort = (): Step =>
  step('abort', async (model, real) => {
    const call = (await domainOf(real)).blockJobAbort('vda');
    if (model.copy === undefined) return refused(call);
    await call;
    model.copy = undefined;
  });

const pivot = (): Step =>
  step('pivot', async (model, real) => {
    if (model.copy !== undefined) await untilReady(real);
    const call = (await domainOf(real)).blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
    if (model.copy === undefined) return refused(call);
    await call;
    model.active = model.copy;
    model.copy = undefined;
  });

/** The management process dies, at rest or `effects` after it was asked to pivot; another one takes over. */
const die = (effects: number | undefined): Step =>
  step(effects === undefined ? 'die' : `die(${effects} into a pivot)`, async (model, real) => {
    if (effects !== undefined && model.copy !== undefined && model.runs)
      await dieInPivot(model, real, effects);
    real.life.die();
    await settle(real, 300);
    real.life = await real.site.begin();
    await settle(real, 300);
    await learn(model, real);
  });

async function dieInPivot(model: Model, real: Real, effects: number): Promise<void> {
  await untilReady(real);
  const domain = await domainOf(real);
  real.life.crashAfter(effects, 'management');
  const call = domain.blockJobAbort('vda', BlockJobAbortFlags.PIVOT);
  const completed = await Promise.race([call.then(() => true), real.life.died]);
  if (!completed) return;
  model.active = model.copy ?? model.active;
  model.copy = undefined;
}

/** QEMU lives, so what became of the pivot is there to be seen: it happened, or the copy is as it was. */
async function learn(model: Model, real: Real): Promise<void> {
  if (model.copy === undefined || !model.runs) return;
  const domain = await domainOf(real);
  if (await domain.getBlockJobInfo('vda')) return;
  const outcome = real.life.connection.listBlockJobOutcomes()[0];
  if (outcome?.outcome !== 'completed') fail(`the copy is gone and said to have ${outcome?.outcome}`);
  model.active = model.copy;
  model.copy = undefined;
}

const crash = (): Step =>
  step('crash', async (model, real) => {
    if (!model.runs) return;
    real.site.qemu.signal('SIGKILL');
    await settle(real, 20);
    model.runs = false;
    model.copy = undefined;
  });

/** Reconnects in peace. */
const reconnect = (): Step =>
  step('reconnect', async (_model, real) => {
    await real.life.connection.disconnect();
    real.life = await real.site.begin();
  });

const STEP: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(start()) },
  { weight: 3, arbitrary: fc.constant(copy()) },
  { weight: 3, arbitrary: fc.constant(pivot()) },
  fc.constant(abort()),
  fc.constant(crash()),
  fc.constant(reconnect()),
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.nat(SLOTS - 1), fc.integer({ min: 1, max: 255 }))
      .map(([slot, byte]) => write(slot, byte)),
  },
  fc.constant(die(undefined)),
  fc.nat(30).map((effects) => die(effects)),
);

/** Sequences of up to `most` steps, at least `least`. */
export function sequences(most: number, least = 1): fc.Arbitrary<readonly Step[]> {
  return fc.array(STEP, { minLength: least, maxLength: most, size: 'max' });
}

/** Runs one sequence on a simulation of its own; `options`: of the first life. */
export async function runSequence(
  steps: readonly Step[],
  probes: ProbeCache,
  options: LifeOptions = {},
): Promise<void> {
  const site = new Site(1, probes);
  createStoreImage(site.world.store, {
    path: '/img/0',
    format: 'qcow2',
    capacityBytes: CAPACITY,
    writes: [],
  });
  const life = await site.begin(options);
  await (await life.connection.defineXML(domainXml('/img/0'))).create();
  const model: Model = {
    runs: true,
    active: '/img/0',
    copy: undefined,
    images: 1,
    slots: Array.from({ length: SLOTS }, () => 0),
  };
  const real: Real = { site, life };
  try {
    for (const each of steps) await each.run(model, real);
  } finally {
    real.life.die();
    site.world.close();
  }
}
