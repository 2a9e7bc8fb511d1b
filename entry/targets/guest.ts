/** A guest's end of a disk on anything that is driven as QEMU is: writes go through the human monitor's `qemu-io`. */
import type { Guest } from '../../conformance/target.ts';
import { type Connection, MonitorCommandFlags } from '../../src/index.ts';

/** The guest of one domain, writing to its virtio disk `disk`. */
export function monitorGuest(connection: Connection, domainName: string, disk: string): Guest {
  const device = `/machine/peripheral/${aliasOf(disk)}/virtio-backend`;
  const io = async (command: string) => {
    const domain = await connection.lookupByName(domainName);
    await domain.qemuMonitorCommand(`qemu-io -d ${device} "${command}"`, MonitorCommandFlags.HMP);
  };
  return {
    write: ({ offsetBytes, lengthBytes, byte }) =>
      io(`write -P 0x${byte.toString(16)} ${offsetBytes} ${lengthBytes}`),
    flush: () => io('flush'),
  };
}

/** libvirt's alias of a virtio disk: `vda` is `virtio-disk0`. */
function aliasOf(disk: string): string {
  return `virtio-disk${disk.charCodeAt(disk.length - 1) - 'a'.charCodeAt(0)}`;
}
