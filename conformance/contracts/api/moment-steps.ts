/** What contracts of snapshots do to the first sectors of a disk, and find there again. */
import type { DomainSnapshot } from '../../../src/index.ts';
import { expectEqual } from '../../expect.ts';
import type { Lab } from '../../lab.ts';

/** Written at the start of the disk. */
const LENGTH = 65_536;

/** Takes a snapshot. @param more XML besides its name */
export const take = ({ domain }: Lab, name: string, flags = 0, more = ''): Promise<DomainSnapshot> =>
  domain.snapshotCreateXML(`<domainsnapshot><name>${name}</name>${more}</domainsnapshot>`, flags);

/** The guest fills the start of its disk with a byte. */
export const write = (lab: Lab, byte: number): Promise<void> =>
  lab.world.session.guest('lab', 'vda').write({ offsetBytes: 0, lengthBytes: LENGTH, byte });

/** Breaks the contract unless the active image holds what {@link write} has put there. */
export async function expectWritten(lab: Lab, byte: number): Promise<void> {
  const [run] = await lab.world.session.contents(lab.path('top'));
  expectEqual(run, { offsetBytes: 0, lengthBytes: LENGTH, byte }, 'what is on the disk');
}
