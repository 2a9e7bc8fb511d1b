/** Limits on disks: what is set is in force, shown and told, and what nobody asked about stays. */
import { type BlockIoTuneParams, DomainXMLFlags, EventId } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { diskXml, Lab } from '../../lab.ts';
import type { World } from '../../world.ts';

const LIVE = 0x1;
const CONFIG = 0x2;
const SEEN = 'seen on libvirt 9.0';
const OWN_GROUP = '/machine/peripheral/virtio-disk0/virtio-backend';

/** Limits of a disk that are not zero. */
async function limits({ domain }: Lab, disk = 'vda', flags = 0): Promise<Record<string, unknown>> {
  const all = await domain.getBlockIoTune(disk, flags);
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== 0 && value !== ''));
}

const set = ({ domain }: Lab, params: BlockIoTuneParams, disk = 'vda', flags = 0) =>
  domain.setBlockIoTune(disk, params, flags);

const tuneOf = (xml: string, disk: string): string =>
  new RegExp(`<target dev=["']${disk}["'][^>]*/>\\s*(<iotune>.*?</iotune>)`, 's')
    .exec(xml)?.[1]
    ?.replace(/\s+/g, '') ?? '';

async function inForce(world: World): Promise<void> {
  const lab = await Lab.start(world, { persistent: true });
  const told: unknown[] = [];
  world.connection.domainEventRegister(EventId.TUNABLE, null, ({ parameters }) => told.push(parameters));
  expectEqual(await limits(lab), {}, 'limits of a disk that was never limited');
  const params = { total_bytes_sec: 4096, total_bytes_sec_max: 8192, total_iops_sec: 100 };
  await set(lab, params, lab.path('top'));
  expectEqual(
    await limits(lab),
    {
      total_bytes_sec: 4096,
      total_iops_sec: 100,
      total_bytes_sec_max: 8192,
      total_bytes_sec_max_length: 1,
      group_name: OWN_GROUP,
    },
    'limits in force',
  );
  const [drive] = JSON.parse(await lab.monitor('query-block')).return;
  expectEqual([drive.inserted.bps, drive.inserted.iops], [4096, 100], "QEMU's limits");
  expectEqual(
    tuneOf(await lab.domain.getXMLDesc(), 'vda'),
    '<iotune><total_bytes_sec>4096</total_bytes_sec><total_iops_sec>100</total_iops_sec>' +
      '<total_bytes_sec_max>8192</total_bytes_sec_max></iotune>',
    'limits in the live XML',
  );
  expect(
    tuneOf(await lab.domain.getXMLDesc(DomainXMLFlags.INACTIVE), 'vda') === '',
    'the definition changed',
  );
  const named = { 'blkdeviotune.disk': lab.path('top') };
  const values = Object.fromEntries(
    Object.entries(params).map(([key, value]) => [`blkdeviotune.${key}`, value]),
  );
  expectEqual(told, [{ ...named, ...values }], 'what was told');
}

async function families(world: World): Promise<void> {
  const lab = await Lab.start(world);
  await set(lab, { total_bytes_sec: 9000, total_bytes_sec_max: 9000, total_iops_sec: 100 });
  await set(lab, { write_iops_sec: 1 });
  await set(lab, { read_bytes_sec: 1, total_bytes_sec_max: 0, read_iops_sec_max: 0 });
  expectEqual(
    await limits(lab),
    { read_bytes_sec: 1, write_iops_sec: 1, group_name: OWN_GROUP },
    'limits after parts of them were set',
  );
  await set(lab, { total_iops_sec: 10, size_iops_sec: 8192 });
  await set(lab, { read_bytes_sec: 0 });
  expectEqual(
    await limits(lab),
    { total_iops_sec: 10, size_iops_sec: 8192, group_name: OWN_GROUP },
    'limits after a part of them was taken back',
  );
  await set(lab, { total_iops_sec: 0, size_iops_sec: 0 });
  expectEqual(await limits(lab), {}, 'limits once all are taken back');
  expectEqual(tuneOf(await lab.domain.getXMLDesc(), 'vda'), '', 'limits in the XML by then');
}

async function groups(world: World): Promise<void> {
  const lab = await Lab.start(world);
  await set(lab, { group_name: 'g', total_bytes_sec: 100, write_iops_sec: 7 });
  await set(lab, { group_name: 'g', total_bytes_sec: 900 }, 'vdb');
  const shared = { total_bytes_sec: 900, write_iops_sec: 7, group_name: 'g' };
  for (const disk of ['vda', 'vdb']) {
    expectEqual(await limits(lab, disk), shared, `limits of ${disk}, which shares them`);
    const xml = tuneOf(await lab.domain.getXMLDesc(), disk);
    expect(xml.includes('<total_bytes_sec>900<'), `the XML of ${disk} does not follow its group: ${xml}`);
  }
  await set(lab, { group_name: 'h', total_bytes_sec: 5 }, 'vdb');
  expectEqual(await limits(lab), shared, 'limits of the disk that stayed in its group');
}

async function definitions(world: World): Promise<void> {
  const lab = await Lab.start(world, { persistent: true });
  await set(lab, { total_bytes_sec: 5000 }, 'vda', CONFIG);
  expectEqual(await limits(lab, 'vda', LIVE), {}, 'limits in force');
  expectEqual(await limits(lab, 'vda', CONFIG), { total_bytes_sec: 5000 }, 'limits for the next start');
  await set(lab, { total_iops_sec: 7 }, 'vdb', LIVE | CONFIG);
  expectEqual(await limits(lab, 'vdb', CONFIG), { total_iops_sec: 7 }, 'limits of both definitions, kept');
  await lab.domain.destroy();
  await set(lab, { total_bytes_sec_max: 10 }, 'vdb');
  expectEqual(
    await limits(lab, 'vdb'),
    { total_iops_sec: 7, total_bytes_sec_max: 10 },
    'limits of a domain that is off, which nobody weighs',
  );
  await set(lab, { total_bytes_sec_max: 0 }, 'vdb');
  await lab.domain.create();
  expectEqual(await limits(lab), { total_bytes_sec: 5000, group_name: OWN_GROUP }, 'limits after the start');
}

async function pivot(world: World): Promise<void> {
  const lab = await Lab.start(world, { data: true, disks: ['more'] });
  await lab.startJob('ready-copy');
  await set(lab, { total_bytes_sec: 7000 });
  await lab.domain.blockJobAbort('vda', 2);
  expectEqual((await limits(lab)).total_bytes_sec, 7000, 'limit after the pivot');
  const tuned = diskXml('vdx', lab.path('more'), {
    extra: '<iotune><read_iops_sec>3</read_iops_sec></iotune>',
  });
  await lab.domain.attachDeviceFlags(tuned, LIVE);
  expectEqual((await limits(lab, 'vdx')).read_iops_sec, 3, 'limit of a disk that was plugged in');
}

interface Claim {
  readonly id: string;
  readonly title: string;
  readonly check: (world: World) => Promise<void>;
}

const CLAIMS: readonly Claim[] = [
  {
    id: 'iotune-in-force',
    title:
      'Limits that are set are in force, in the live XML, and told with the name that the disk was called by',
    check: inForce,
  },
  {
    id: 'iotune-families',
    title: 'What is set of bytes, requests or bursts replaces that whole, and leaves the rest as it was',
    check: families,
  },
  {
    id: 'iotune-groups',
    title: 'Disks of one group share its limits, from which who joins it starts',
    check: groups,
  },
  {
    id: 'iotune-definitions',
    title: 'Limits go into the definition that the flags name, and come into force with the next start',
    check: definitions,
  },
  {
    id: 'iotune-outlives-pivot',
    title: 'A pivot leaves the limits as they are; a disk that is plugged in brings its own',
    check: pivot,
  },
];

/** One contract per claim. */
export const iotuneContracts: readonly Contract[] = CLAIMS.map(({ id, title, check }) =>
  example({
    id: `api/${id}`,
    title,
    source: `virDomainSetBlockIoTune, virDomainGetBlockIoTune; qemuDomainSetBlockIoTuneDefaults; ${SEEN}`,
    needs: check === pivot ? ['extras', 'copy', 'readyEvent'] : ['extras'],
    check,
  }),
);
