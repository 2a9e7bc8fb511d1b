/** A thousand domains of one connection, each with a copy that is under way. */
import { createQemuDriver } from '../../drivers/qemu/driver.ts';
import { createMockHost } from '../../entry/mock-host.ts';
import { createStoreImage } from '../../entry/targets/store-images.ts';
import { DEFAULT_PROFILE } from '../../mock-qemu/profiles/index.ts';
import { createWorld } from '../../mock-qemu/shells/world.ts';
import { openConnection } from '../../src/index.ts';
import { assert } from '../../src/util/assert.ts';
import { below, type Measure } from '../figure.ts';
import { MemoryMeter } from '../memory.ts';

const MACHINES = 1000;
const CAPACITY_BYTES = 100 * 2 ** 30;
const MIB = 2 ** 20;
const MAX_MIB = 512;
/** Slow enough that all are under way when the last one has started. */
const SPEED_MIB = 10;
const KIB = 1024;

const domainXml = (number: number): string => `<domain type='qemu'>
  <name>vm-${number}</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/images/${number}.qcow2'/>
      <backingStore/><target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>`;
const copyXml = (number: number): string =>
  `<disk type='file'><driver type='qcow2'/><source file='/images/${number}.copy'/></disk>`;

/** Memory of a thousand machines that mirror at once. */
export const thousand: Measure = async () => {
  const memory = new MemoryMeter();
  const world = createWorld({ seed: 1 });
  const driver = createQemuDriver({ host: createMockHost(world, DEFAULT_PROFILE) });
  const connection = openConnection({ uri: 'mock:///embed', driver });
  for (let number = 0; number < MACHINES; number++) {
    const path = `/images/${number}.qcow2`;
    const writes = [{ offsetBytes: 0, lengthBytes: CAPACITY_BYTES, byte: 1 }];
    createStoreImage(world.store, { path, format: 'qcow2', capacityBytes: CAPACITY_BYTES, writes });
    const domain = await connection.createXML(domainXml(number));
    await domain.blockCopy('vda', copyXml(number), { bandwidth: SPEED_MIB * MIB });
  }
  const infos = await Promise.all(
    (await connection.listAllDomains()).map((domain) => domain.getBlockJobInfo('vda')),
  );
  assert(
    infos.every((info) => info !== null && info.cur < info.end),
    'all copies are under way',
  );
  const [peakMiB, grownMiB] = [memory.peakMiB, memory.grownMiB];
  await connection.close();
  world.close();
  return [
    {
      id: 'thousand-peak-mib',
      title: '1,000 VMs mirroring at once: peak of the process',
      unit: 'MiB',
      simulated: peakMiB,
      goal: below(peakMiB, MAX_MIB, 'MiB'),
      note: 'domains of one connection through libvirt calls, driver and QMP; peak resident set, Node included',
    },
    {
      id: 'thousand-kib-per-vm',
      title: 'memory per VM',
      unit: 'KiB',
      simulated: (grownMiB * KIB) / MACHINES,
      note: 'that peak above the bare process, by 1,000',
    },
  ];
};
