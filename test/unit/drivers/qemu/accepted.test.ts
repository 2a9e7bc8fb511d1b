/**
 * Versions are written twice on purpose: what a client dialect sends, and what a profile accepts. Here they meet: all that
 * a dialect can send is accepted by the QEMU that it was chosen for.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deviceOptions, HELPER_ARGUMENTS, machineArguments } from '../../../../drivers/qemu/arguments.ts';
import type { Dialect, JobView, Step } from '../../../../drivers/qemu/dialects/dialect.ts';
import { chooseDialect } from '../../../../drivers/qemu/dialects/index.ts';
import { probe } from '../../../../drivers/qemu/probe.ts';
import { QmpClient } from '../../../../drivers/qemu/qmp-client.ts';
import { type QmpCall, stringifyQmp } from '../../../../drivers/qemu/qmp-json.ts';
import { profiles } from '../../../../mock-qemu/profiles/index.ts';
import type { Profile } from '../../../../mock-qemu/profiles/profile.ts';
import { parseArgv } from '../../../../mock-qemu/qmp/argv.ts';
import { JsonStream } from '../../../../mock-qemu/qmp/json-stream.ts';
import { isWireObject, type WireObject } from '../../../../mock-qemu/qmp/json-value.ts';
import { ArgumentChecker } from '../../../../mock-qemu/qmp/schema.ts';
import { createWorld } from '../../../../mock-qemu/shells/world.ts';
import type { DiskSpec, ImageRef, JobRequest, MachineSpec, TargetSpec } from '../../../../src/driver.ts';
import { ErrorCode, isVirtError } from '../../../../src/errors.ts';

/** What a driver sends by itself, whatever the dialect. */
const OWN_CALLS: readonly QmpCall[] = ['stop', 'cont', 'system_powerdown', 'query-commands'].map(
  (execute) => ({
    execute,
  }),
);

async function dialectFor(profile: Profile): Promise<Dialect> {
  const world = createWorld({ seed: 1 });
  const booted = world.boot({ profile: profile.name, argv: ['-S', '-nodefaults'] });
  const client = await QmpClient.connect(async () => booted.connect(), { timers: world.timers });
  try {
    return chooseDialect(await probe(client));
  } finally {
    client.close();
    world.close();
  }
}

const image = (index: number): fc.Arbitrary<ImageRef> =>
  fc.record({
    index: fc.constant(index),
    path: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).map((name) => `/img/${index}-${name}`),
    format: fc.constantFrom('qcow2', 'raw'),
  });

const qcow2 = (ref: ImageRef): ImageRef => ({ ...ref, format: 'qcow2' });
const speed = fc.oneof(fc.constant(0), fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }));

/** A disk, everything that can be asked of it, and the files that there are. */
const asked = fc.record({
  images: fc.tuple(image(1), image(2), image(3), image(4), image(5)),
  depth: fc.integer({ min: 1, max: 3 }),
  bus: fc.constantFrom('virtio', 'scsi', 'ide', 'sata'),
  reuse: fc.boolean(),
  shallow: fc.boolean(),
  synchronousWrites: fc.boolean(),
  relative: fc.boolean(),
  granularityBytes: fc.constantFrom(0, 0, 512, 65_536, 67_108_864),
  bufSizeBytes: fc.oneof(fc.constant(0), fc.nat()),
  speedBytesPerSecond: speed,
  kind: fc.constantFrom<'file' | 'block'>('file', 'block'),
  isOpen: fc.boolean(),
});
type Asked = typeof asked extends fc.Arbitrary<infer T> ? T : never;

function diskOf({ images, depth, bus }: Asked): DiskSpec {
  const chain = images.slice(0, depth).map((ref, at) => (at === depth - 1 ? ref : qcow2(ref)));
  return { target: 'vda', alias: `${bus}-disk0`, bus, device: 'disk', readonly: false, chain };
}

function targetOf(given: Asked): TargetSpec {
  const [, , , target, below] = given.images;
  const { chain } = diskOf(given);
  const backing = given.shallow ? (given.reuse ? [below] : chain.slice(1)) : [];
  const destination = backing.length > 0 ? qcow2(target) : target;
  return { disk: 'vda', source: chain[0] ?? target, image: destination, backing, reuse: given.reuse };
}

function requestsOf(given: Asked): JobRequest[] {
  const { shallow, synchronousWrites, granularityBytes, bufSizeBytes, speedBytesPerSecond, relative } = given;
  const { chain } = diskOf(given);
  const target = targetOf(given);
  const common = { id: 'some-job', disk: 'vda', speedBytesPerSecond };
  const name = relative ? { backingName: 'relative' } : {};
  const [top, middle, base] = chain;
  const requests: JobRequest[] = [
    {
      ...common,
      kind: 'copy',
      source: target.source,
      target: { image: target.image },
      shallow,
      synchronousWrites,
      granularityBytes,
      bufSizeBytes,
    },
    { ...common, kind: 'pull', top: target.source },
  ];
  if (top && middle) {
    requests.push({ ...common, kind: 'pull', top, base: middle, ...name });
    requests.push({ ...common, kind: 'active-commit', active: top, top, base: middle });
  }
  if (top && middle && base) {
    requests.push({ ...common, kind: 'commit', active: top, top: middle, base, ...name });
  }
  return requests;
}

/** What a job's whole life sends, or nothing where the dialect says that the QEMU cannot do it. */
function callsOfJob(dialect: Dialect, given: Asked, request: JobRequest): Sent[] {
  const disk = diskOf(given);
  const target = request.kind === 'copy' ? { target: targetOf(given) } : {};
  const job: JobView = {
    key: dialect.jobKey(request, disk),
    request,
    disk,
    isOpen: () => given.isOpen,
    ...target,
  };
  try {
    const isMirror = request.kind === 'copy' || request.kind === 'active-commit';
    return [
      dialect.start(job),
      dialect.setSpeed(job, request.speedBytesPerSecond),
      dialect.verdict(job.key).call,
      ...(isMirror ? [...dialect.attach(job), ...dialect.conclude(job, 'pivot')] : []),
      ...dialect.conclude(job, 'abort'),
      ...[undefined, 'pivot' as const, 'abort' as const].flatMap((how) => dialect.settle(job, how)),
    ];
  } catch (error) {
    if (isVirtError(error, ErrorCode.CONFIG_UNSUPPORTED)) return [];
    throw error;
  }
}

type Sent = QmpCall | Step;

/** All that a dialect sends for what was asked. */
function callsOf(dialect: Dialect, given: Asked): QmpCall[] {
  const disk = diskOf(given);
  const spec = targetOf(given);
  const images = [...disk.chain, spec.image, ...spec.backing];
  const source = { capacityBytes: 1 << 30, clusterBytes: 65_536 };
  const geometry = dialect.geometry(spec);
  const facts = { kind: given.kind, isOpen: () => given.isOpen, ...(geometry ? { source } : {}) };
  const open = new Set(
    images.flatMap(({ index }) => [`libvirt-${index}-format`, `libvirt-${index}-storage`]),
  );
  const queries = [geometry, dialect.jobs(), dialect.chains(), dialect.openNodes()];
  const sent: Sent[] = [
    ...OWN_CALLS,
    ...queries.flatMap((query) => (query ? [query.call] : [])),
    ...dialect.prepare(spec, facts).steps,
    ...dialect.settleCreation('create-x'),
    ...dialect.release(images, open),
    ...requestsOf(given).flatMap((request) => callsOfJob(dialect, given, request)),
    ...callsOfExtras(dialect, given),
  ];
  return sent.flatMap(callsIn);
}

function callsOfExtras({ extras, driveName }: Dialect, given: Asked): Sent[] {
  if (!extras) return [];
  const disk = diskOf(given);
  const spec = targetOf(given);
  const kindOf = () => given.kind;
  const overlay = { disk: 'vda', active: spec.source, overlay: qcow2(spec.image), reuse: given.reuse };
  return [
    extras.resize(spec.source, given.bufSizeBytes),
    extras.writeThreshold(spec.source, given.bufSizeBytes),
    extras.geometry(spec.source).call,
    extras.detach(disk),
    ...extras.snapshot([overlay], () => ({ capacityBytes: 1 << 30 }), kindOf),
    ...extras.attach(disk, deviceOptions(disk, driveName(disk)), kindOf),
    ...extras.changeMedium(disk, [spec.image], given.reuse, kindOf),
  ];
}

function callsIn(sent: Sent): QmpCall[] {
  if ('execute' in sent) return [sent];
  if (sent.do === 'call') return sent.undo ? [sent.call, sent.undo] : [sent.call];
  return sent.do === 'job' ? [sent.call] : [];
}

function onTheWire(text: string): WireObject {
  const stream = new JsonStream();
  stream.feed(new TextEncoder().encode(text));
  const item = stream.next();
  if (!item || !('value' in item) || !isWireObject(item.value)) throw new Error(`not an object: ${text}`);
  return item.value;
}

function specOf(disk: DiskSpec): MachineSpec {
  const uuid = '6d6f636b-7669-4274-8000-000000000001';
  return { name: 'a,b', uuid, memoryBytes: 1 << 24, disks: [disk] };
}

describe.each(profiles.map((profile) => [profile.name, profile] as const))('%s', (_name, profile) => {
  const checker = new ArgumentChecker(profile);
  const refusal = ({ execute, arguments: args }: QmpCall): string | undefined => {
    if (!profile.introspection.commands.includes(execute)) return `${execute} does not exist`;
    const checked = checker.check(execute, onTheWire(stringifyQmp(args ?? {})));
    return checked.ok ? undefined : `${execute} ${stringifyQmp(args ?? {})}: ${checked.error.desc}`;
  };

  test('accepts all that its dialect sends', async () => {
    const dialect = await dialectFor(profile);
    fc.assert(
      fc.property(asked, (given) => {
        const refused = callsOf(dialect, given).flatMap((call) => refusal(call) ?? []);
        expect(refused).toEqual([]);
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  test('takes the command line of its dialect', async () => {
    const dialect = await dialectFor(profile);
    fc.assert(
      fc.property(asked, (given) => {
        const argv = machineArguments(specOf(diskOf(given)), dialect, () => given.kind);
        const parsed = parseArgv(argv, 'qemu', profile.laterOptions);
        expect('complaint' in parsed ? parsed.complaint : '').toBe('');
        const nodes = 'steps' in parsed ? parsed.steps.filter(({ type }) => type === 'blockdev') : [];
        for (const node of nodes) {
          if (node.type !== 'blockdev') continue;
          const checked = checker.check('blockdev-add', onTheWire(node.source));
          expect(checked.ok ? '' : checked.error.desc).toBe('');
        }
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  test('takes one of the ways to be asked what it can do', () => {
    const complaints = HELPER_ARGUMENTS.map((argv) => parseArgv(argv, 'qemu', profile.laterOptions));
    expect(complaints.some((parsed) => 'steps' in parsed)).toBe(true);
  });

  test('a dialect declares what it refuses', async () => {
    const dialect = await dialectFor(profile);
    const { capabilities } = dialect;
    const needs = { copy: 'copy', pull: 'pull', commit: 'commit', 'active-commit': 'activeCommit' } as const;
    fc.assert(
      fc.property(asked, (given) => {
        const plain = { ...given, relative: false, synchronousWrites: false };
        const tuned = given.granularityBytes !== 0 || given.bufSizeBytes !== 0;
        for (const request of requestsOf(plain)) {
          const can = capabilities[needs[request.kind]];
          const mayTune = request.kind !== 'copy' || !tuned || capabilities.copyTuning;
          expect(callsOfJob(dialect, plain, request).length > 0, request.kind).toBe(can && mayTune);
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});

test('each profile gets the dialect of its time', async () => {
  const names = await Promise.all(profiles.map(async (profile) => (await dialectFor(profile)).name));
  expect(Object.fromEntries(profiles.map(({ name }, at) => [name, names[at]]))).toMatchObject({
    'rhel-6.3': 'rhel6',
    'qemu-1.3': 'drive-mirror',
    'qemu-7.2': 'blockdev',
    'qemu-10.0': 'blockdev',
  });
});
