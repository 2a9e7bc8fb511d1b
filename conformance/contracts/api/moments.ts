/** Internal snapshots: what they hold, how a domain goes back to one, and how one is told of again. */
import { ErrorCode, ErrorDomain, SnapshotCreateFlags, SnapshotDeleteFlags } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Lab } from '../../lab.ts';
import { expectWritten, take, write } from './moment-steps.ts';
import { expectAnswer } from './refusals/row.ts';

const { REDEFINE, CURRENT } = SnapshotCreateFlags;
const SEEN = 'seen on libvirt 9.0 with QEMU 7.2';

interface Moment {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  check(lab: Lab): Promise<void>;
}

const MOMENTS: readonly Moment[] = [
  {
    id: 'internal-snapshot',
    title: 'An internal snapshot stops the guest while it is taken, and says what the domain was',
    source: `virDomainSnapshotCreateXML; ${SEEN}: (3,0) (4,0) of a domain that runs, nothing of a paused one`,
    async check(lab) {
      let at = lab.seen.length;
      const running = await take(lab, 'running');
      expectEqual(lab.seen.slice(at), ['life 3 0', 'life 4 0'], 'events of a snapshot of a domain that runs');
      await lab.domain.suspend();
      at = lab.seen.length;
      const paused = await take(lab, 'paused');
      expectEqual(lab.seen.slice(at), [], 'events of a snapshot of a paused domain');
      for (const [snapshot, state] of [[running, 'running'] as const, [paused, 'paused'] as const]) {
        const xml = await snapshot.getXMLDesc();
        expect(xml.includes(`<state>${state}</state>`), `the snapshot does not say that it was ${state}`);
        expect(xml.includes("<memory snapshot='internal'/>"), 'the snapshot does not say that it has memory');
      }
      expectEqual((await paused.getParent()).name, 'running', 'parent of the second snapshot');
      expectEqual(await lab.chain(), ['top', 'mid', 'low', 'base'], 'chain');
    },
  },
  {
    id: 'internal-snapshot-revert',
    title: 'A revert brings back what was on the disk, and makes the snapshot the current one',
    source: `virDomainRevertToSnapshot; ${SEEN}: (5,6) (2,3) (4,2), reason from-snapshot`,
    async check(lab) {
      await write(lab, 1);
      const first = await take(lab, 'first');
      await write(lab, 2);
      await take(lab, 'second');
      const at = lab.seen.length;
      await lab.domain.revertToSnapshot(first);
      const life = lab.seen.slice(at).filter((line) => line.startsWith('life'));
      expectEqual(life, ['life 5 6', 'life 2 3', 'life 4 2'], 'events of the revert');
      expectEqual(await lab.domain.getState(), { state: 1, reason: 4 }, 'state and reason');
      expectEqual((await lab.domain.snapshotCurrent()).name, 'first', 'current snapshot');
      await lab.domain.destroy();
      await expectWritten(lab, 1);
    },
  },
  {
    id: 'internal-snapshot-deleted',
    title: 'A deleted internal snapshot is gone from the list and from the image',
    source: `virDomainSnapshotDelete; ${SEEN}`,
    async check(lab) {
      const first = await take(lab, 'first');
      const xml = await first.getXMLDesc();
      await first.delete();
      expectEqual(await lab.domain.snapshotNum(), 0, 'snapshots');
      const again = await lab.domain.snapshotCreateXML(xml, REDEFINE);
      const error = await lab.domain.revertToSnapshot(again).catch((reason: unknown) => String(reason));
      expect(String(error).includes("Snapshot 'first' does not exist"), `the image has it still: ${error}`);
    },
  },
  {
    id: 'snapshot-redefined',
    title: 'A forgotten snapshot that is told of again is what it was, and can be reverted to',
    source: `virDomainSnapshotCreateXML: VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE, CURRENT; ${SEEN}`,
    async check(lab) {
      const first = await take(lab, 'first');
      const xml = await first.getXMLDesc();
      await first.delete(SnapshotDeleteFlags.METADATA_ONLY);
      await expectAnswer(
        lab,
        lab.domain.snapshotCurrent(),
        { code: ErrorCode.NO_DOMAIN_SNAPSHOT, says: 'the domain does not have a current snapshot' },
        'the current snapshot',
      );
      const again = await lab.domain.snapshotCreateXML(xml, REDEFINE | CURRENT);
      expectEqual(await again.getXMLDesc(), xml, 'XML of the snapshot');
      expectEqual(await again.isCurrent(), true, 'whether it is current');
      await lab.domain.revertToSnapshot(again);
      await expectAnswer(
        lab,
        lab.domain.snapshotCreateXML(
          xml.replace('<state>', '<parent><name>first</name></parent><state>'),
          REDEFINE,
        ),
        {
          code: ErrorCode.INVALID_ARG,
          domain: ErrorDomain.DOMAIN,
          says: 'cannot set moment first as its own parent',
        },
        'a snapshot that is its own parent',
      );
    },
  },
];

/** One contract per claim. */
export const momentContracts: readonly Contract[] = MOMENTS.map(({ id, title, source, check }) =>
  example({
    id: `api/${id}`,
    title,
    source,
    needs: ['extras'],
    async check(world) {
      await check(await Lab.start(world));
    },
  }),
);
