/** Guest devices: what -device and device_add make, and how they go. */
import type { Data } from './data.ts';
import { refuse } from './errors.ts';
import type { BlockBackend } from './graph/backend.ts';
import type { BlockNode } from './graph/node.ts';
import { fileOptions, openNode, probeFormat } from './graph/open.ts';
import type { Job } from './jobs/job.ts';
import type { ErrorPolicy } from './jobs/policy.ts';
import { deviceRights, driveRights } from './rights.ts';
import { checkLimits, driveGroup, driveLimits, isLimited } from './throttle.ts';
import type { Device, Vm } from './vm.ts';

// A virtio-pci device is a proxy: the block device is its child, and queries name that.
const BACKEND_SUFFIX: Readonly<Record<string, string>> = {
  'virtio-blk-pci': '/virtio-backend',
  'virtio-blk-device': '',
};

/** Whose property the drive of a device is, where that is another one's. */
const OWNERS_OF_DRIVES: Readonly<Record<string, string>> = { 'virtio-blk-pci': 'virtio-blk-device' };

const DISK_DRIVERS = new Set([
  'virtio-blk-pci',
  'virtio-blk-device',
  'ide-hd',
  'scsi-hd',
  'ide-cd',
  'scsi-cd',
]);

/** -drive, drive_add: a named backend over nodes that have no names. */
export function addDrive(vm: Vm, options: Data): BlockBackend {
  const { id, file, format, 'node-name': nodeName } = options;
  // Either spelling.
  const readOnly = options['read-only'] ?? options.readonly;
  const path = typeof file === 'string' ? file : undefined;
  const rights = { 'read-only': readOnly === 'on' };
  const node =
    path === undefined
      ? undefined
      : openNode(vm, {
          driver: format ?? probeFormat(vm.images, path),
          file: { ...fileOptions(path), ...rights },
          ...rights,
          ...(nodeName !== undefined && { 'node-name': nodeName }),
        });
  const name = typeof id === 'string' ? id : '';
  const backend = vm.addBackend(name, node, driveRights(node?.readOnly ?? true));
  backend.readOnly = readOnly === 'on';
  const limits = driveLimits(options);
  checkLimits(limits);
  if (isLimited(limits)) {
    backend.throttle = vm.throttles.join(driveGroup(options) ?? name);
    backend.throttle.setLimits(limits);
  }
  setPolicies(backend, options);
  return backend;
}

/** Plugs a device; refuses an unknown or a busy drive, a used id. */
export function addDevice(vm: Vm, options: Data): Device {
  const driver = String(options.driver ?? '');
  const id = typeof options.id === 'string' ? options.id : undefined;
  if (id !== undefined && vm.devices.some((device) => device.id === id)) {
    refuse(`Duplicate device ID '${id}'`);
  }
  const anonymous = vm.devices.filter((device) => device.id === undefined).length;
  const path =
    id === undefined ? `/machine/peripheral-anon/device[${anonymous}]` : `/machine/peripheral/${id}`;
  const suffix = BACKEND_SUFFIX[driver];
  const qdev = suffix === undefined ? (id ?? path) : `${path}${suffix}`;
  const backend = DISK_DRIVERS.has(driver) ? openDrive(vm, driver, options) : undefined;
  if (backend) {
    backend.qdev = qdev;
    backend.deviceId = id;
    backend.removable = driver.endsWith('-cd');
    backend.qomPath = `${path}${suffix ?? ''}`;
    takeDisk(vm, backend, options['share-rw'] === true || options['share-rw'] === 'on');
    setPolicies(backend, options);
    // The new device's first read waits for a drained section to end, and the monitor with it.
    if (backend.node && vm.isHeldBack(backend.node)) vm.hang();
  }
  const device: Device = { id, driver, path, backend, slot: freeSlot(vm) };
  vm.devices.push(device);
  return device;
}

/** The lowest place on the bus that no device has. */
function freeSlot(vm: Vm): number {
  const taken = new Set(vm.devices.map(({ slot }) => slot));
  let slot = 0;
  while (taken.has(slot)) slot++;
  return slot;
}

/** werror and rerror; a device that may stop its guest tracks its state. */
export function setPolicies(backend: BlockBackend, { werror, rerror }: Data): void {
  const { policies } = backend;
  const write = werror === undefined || werror === 'auto' ? policies.write : (werror as ErrorPolicy);
  const read = rerror === undefined || rerror === 'auto' ? policies.read : (rerror as ErrorPolicy);
  backend.policies = { read, write };
  const mayStop = write === 'enospc' || write === 'stop' || read === 'stop';
  if (backend.qdev !== undefined) backend.ioStatus = mayStop ? 'ok' : undefined;
}

function openDrive(vm: Vm, driver: string, options: Data): BlockBackend | undefined {
  const drive = options.drive;
  if (typeof drive !== 'string' || drive === '') {
    return driver.endsWith('-cd') ? vm.addBackend('', undefined) : refuse('drive property not set');
  }
  const named = vm.graph.backends.find((backend) => backend.name === drive);
  if (named) {
    if (named.qdev !== undefined) refuse(`Drive '${drive}' is already in use by another device`);
    return named;
  }
  const node = vm.graph.nodes.get(drive);
  const owner = OWNERS_OF_DRIVES[driver] ?? driver;
  if (!node) return refuse(`Property '${owner}.drive' can't find value '${drive}'`);
  // Attaching to the node holds its users still.
  vm.flap(node, 1);
  return vm.addBackend('', node);
}

/** Gives a device the rights that it needs of its disk; a disk that others forbid to it is refused. */
function takeDisk(vm: Vm, backend: BlockBackend, sharesWriting: boolean): void {
  const { root } = backend;
  if (!root) return;
  try {
    vm.graph.setRights(root, deviceRights(backend.readOnly || backend.removable, sharesWriting));
  } catch (error) {
    backend.qdev = undefined;
    if (backend.name === '') vm.removeBackend(backend);
    vm.flap(root.child, 1);
    throw error;
  }
}

/** Asks the jobs on drives whose devices are about to go to end: at once, their devices go later. */
export function cancelUnpluggedJobs(vm: Vm): void {
  for (const { backend } of [...vm.unplugging.keys()].sort((a, b) => a.slot - b.slot)) {
    const job = backend && backend.name !== '' ? jobOf(vm, backend) : undefined;
    if (job && !job.cancelRequested) vm.jobs.userCancel(job, false);
  }
}

/** Completes every unplug that the guest, or the lack of one, has held up. */
export function finishUnplug(vm: Vm): void {
  const devices = [...vm.unplugging.keys()].sort((a, b) => a.slot - b.slot);
  vm.unplugging.clear();
  for (const device of devices) {
    const { backend } = device;
    // A drive goes with its device, so its jobs end first; a node that somebody else owns stays, and they go on.
    if (backend && backend.name !== '') endJobs(vm, backend, () => unplug(vm, device));
    else {
      if (backend?.node) vm.flap(backend.node, 2);
      unplug(vm, device);
    }
  }
}

/** Ends the jobs of a drive, softly: one that is READY is completed, without a pivot. */
function endJobs(vm: Vm, backend: BlockBackend, then: () => void): void {
  const job = jobOf(vm, backend);
  if (!job) {
    then();
    return;
  }
  vm.jobs.whenGone(job, () => endJobs(vm, backend, then));
  if (!job.cancelRequested) vm.jobs.userCancel(job, false);
}

function jobOf(vm: Vm, backend: BlockBackend): Job | undefined {
  const nodes = new Set<BlockNode>();
  for (let at = backend.node; at; at = at.filtered?.child) nodes.add(at);
  return vm.movingJobs().find(({ edges }) => edges.some(({ child }) => nodes.has(child)));
}

function unplug(vm: Vm, device: Device): void {
  const { backend, path, id, driver } = device;
  vm.devices.splice(vm.devices.indexOf(device), 1);
  if (backend) vm.removeBackend(backend);
  if (driver === 'virtio-blk-pci') vm.emit('DEVICE_DELETED', { path: `${path}/virtio-backend` });
  vm.emit('DEVICE_DELETED', id === undefined ? { path } : { device: id, path });
}
