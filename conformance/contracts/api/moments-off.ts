/** Snapshots of domains that are shut off, and snapshots whose memory is in a file. */
import {
  DomainXMLFlags,
  ErrorCode,
  ErrorDomain,
  SnapshotCreateFlags,
  SnapshotRevertFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Lab, type LabOptions } from '../../lab.ts';
import type { Capability } from '../../target.ts';
import { expectWritten, take, write } from './moment-steps.ts';
import { expectAnswer } from './refusals/row.ts';

const { DISK_ONLY, HALT, REDEFINE, LIVE } = SnapshotCreateFlags;
const { RUNNING, PAUSED } = SnapshotRevertFlags;
const OFF: LabOptions = { inactive: true };
const RUNS: LabOptions = { persistent: true };

const memoryXml = (lab: Lab, name: string): string =>
  `<memory snapshot='external' file='${lab.path(name)}'/>`;

/** What the domain does once, from its start to its end. */
async function once(lab: Lab, run: () => Promise<unknown>): Promise<void> {
  await lab.domain.create();
  await run();
  await lab.domain.destroy();
}

/** Events of a call. */
async function told(lab: Lab, call: Promise<unknown>): Promise<string[]> {
  const at = lab.seen.length;
  await call;
  return lab.seen.slice(at);
}

const lastOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** The image that each disk starts from. */
async function defined({ domain }: Lab): Promise<string[]> {
  const xml = await domain.getXMLDesc(DomainXMLFlags.INACTIVE);
  return [...xml.matchAll(/<disk (?:(?!<disk ).)*?<source file=.([^'"]*)./gs)].map(([, path = '']) =>
    lastOf(path),
  );
}

interface Claim {
  readonly id: string;
  readonly title: string;
  readonly options: LabOptions;
  readonly needs?: readonly Capability[];
  check(lab: Lab): Promise<void>;
}

const CLAIMS: readonly Claim[] = [
  {
    id: 'snapshot-off',
    title:
      'A snapshot of a domain that is off is kept inside its images, brings back what they held, and tells of nothing',
    options: OFF,
    async check(lab) {
      await once(lab, () => write(lab, 1));
      expectEqual(await told(lab, take(lab, 'first')), [], 'events of the snapshot');
      const first = await lab.domain.snapshotCurrent();
      const xml = (await first.getXMLDesc()).replace(/\s+/g, '');
      expect(xml.includes('<state>shutoff</state>'), 'the snapshot does not say that the domain was off');
      expect(xml.includes("<memorysnapshot='no'/>"), 'the snapshot does not say that it has no memory');
      expect(xml.includes("<diskname='vdb'snapshot='internal'/>"), 'the snapshot does not say where it is');
      await once(lab, () => write(lab, 2));
      await take(lab, 'second');
      expectEqual(await told(lab, lab.domain.revertToSnapshot(first)), ['life 0 3'], 'events of the revert');
      expectEqual(await lab.domain.getState(), { state: 5, reason: 2 }, 'state and reason');
      expectEqual((await lab.domain.snapshotCurrent()).name, 'first', 'current snapshot');
      await expectWritten(lab, 1);
    },
  },
  {
    id: 'snapshot-off-started',
    title:
      'A revert to a snapshot of a domain that was off starts it only where that is asked, and ends one that runs',
    options: OFF,
    async check(lab) {
      const { domain } = lab;
      const first = await take(lab, 'first');
      const revert = async (flags: number) => ({
        told: await told(lab, domain.revertToSnapshot(first, flags)),
        state: await domain.getState(),
      });
      const ran = ['life 4 0', 'life 2 3', 'life 0 3'];
      expectEqual(await revert(RUNNING), { told: ran, state: { state: 1, reason: 1 } }, 'RUNNING, from off');
      expectEqual(
        await revert(RUNNING),
        { told: ['life 5 6', ...ran], state: { state: 1, reason: 1 } },
        'RUNNING, from running',
      );
      expectEqual(
        await revert(PAUSED),
        { told: ['life 5 6', 'life 2 3', 'life 3 5', 'life 0 3'], state: { state: 3, reason: 1 } },
        'PAUSED, from running',
      );
      expectEqual(
        await revert(0),
        { told: ['life 5 6', 'life 0 3'], state: { state: 5, reason: 7 } },
        'no flag, from paused',
      );
    },
  },
  {
    id: 'snapshot-off-deleted',
    title: 'A deleted snapshot of a domain that is off is gone from its images',
    options: OFF,
    async check(lab) {
      const first = await take(lab, 'first');
      const xml = await first.getXMLDesc();
      expectEqual(await told(lab, first.delete()), [], 'events of the deletion');
      expectEqual(await lab.domain.snapshotNum(), 0, 'snapshots');
      const again = await lab.domain.snapshotCreateXML(xml, REDEFINE);
      await expectAnswer(
        lab,
        lab.domain.revertToSnapshot(again),
        { code: ErrorCode.INTERNAL_ERROR, domain: ErrorDomain.NONE, says: 'Child process (', more: true },
        'a revert to what the images do not have',
      );
    },
  },
  {
    id: 'snapshot-off-merged',
    title:
      'Images of an external snapshot of a domain that is off are merged without a word of its life, its jobs are told',
    options: OFF,
    needs: ['activeCommit'],
    async check(lab) {
      const first = await take(lab, 'one', DISK_ONLY);
      await once(lab, () => write(lab, 1));
      const second = await take(lab, 'two', DISK_ONLY);
      expectEqual(await defined(lab), ['top.two', 'other.two'], 'images before');
      await expectAnswer(
        lab,
        first.delete(),
        {
          code: ErrorCode.INVALID_ARG,
          domain: ErrorDomain.STORAGE,
          says: 'could not find base disk source in disk source chain',
        },
        'the deletion of a snapshot that others are on',
      );
      const jobs = ['job vda 4 3', 'job vdb 4 3', 'job vda 4 0', 'job vdb 4 0'];
      expectEqual((await told(lab, second.delete())).toSorted(), jobs.toSorted(), 'events of the deletion');
      await first.delete();
      expectEqual(await defined(lab), ['top', 'other'], 'images after');
      expectEqual(
        await lab.present(['top.one', 'top.two', 'other.one', 'other.two']),
        [],
        'overlays that are left',
      );
      expectEqual(lab.domain.isActive(), false, 'whether it runs');
      await expectWritten(lab, 1);
    },
  },
  {
    id: 'snapshot-mixed-parents',
    title:
      'An external snapshot that came from an internal one cannot be merged, whether the domain runs or not',
    options: OFF,
    async check(lab) {
      await take(lab, 'inside');
      const above = await take(lab, 'above', DISK_ONLY);
      const answer = {
        code: ErrorCode.OPERATION_UNSUPPORTED,
        says: 'deleting external snapshot that has internal snapshot as parent not supported',
      };
      await expectAnswer(lab, above.delete(), answer, 'the deletion while it is off');
      await lab.domain.create();
      await expectAnswer(lab, above.delete(), answer, 'the deletion while it runs');
    },
  },
  {
    id: 'snapshot-memory-file',
    title:
      'A snapshot with memory in a file stops the guest while it is taken, and puts overlays on the disks',
    options: RUNS,
    needs: ['saves'],
    async check(lab) {
      const first = await told(lab, take(lab, 'first', 0, memoryXml(lab, 'first.mem')));
      expectEqual(first, ['life 3 0', 'life 4 0'], 'events of a snapshot of a domain that runs');
      const xml = await (await lab.domain.snapshotCurrent()).getXMLDesc();
      expect(xml.includes(memoryXml(lab, 'first.mem')), 'the snapshot does not say where its memory is');
      expect(xml.includes('<state>running</state>'), 'the snapshot does not say that the domain ran');
      expectEqual((await lab.chain())[0], 'top.first', 'active image');
      await lab.domain.suspend();
      const second = await told(lab, take(lab, 'second', LIVE, memoryXml(lab, 'second.mem')));
      expectEqual(second, [], 'events of a snapshot of a paused domain');
      await lab.domain.resume();
      expectEqual(
        await lab.present(['first.mem', 'second.mem']),
        ['first.mem', 'second.mem'],
        'files of memory',
      );
      await expectAnswer(
        lab,
        lab.domain.revertToSnapshot(await lab.domain.snapshotLookupByName('first')),
        { code: ErrorCode.CONFIG_UNSUPPORTED, says: 'revert to external snapshot not supported yet' },
        'a revert to it',
      );
      const halted = await told(lab, take(lab, 'third', HALT, memoryXml(lab, 'third.mem')));
      expectEqual(halted, ['life 3 0', 'life 5 6'], 'events of a snapshot that halts');
      expectEqual(await lab.domain.getState(), { state: 5, reason: 7 }, 'state and reason after it');
    },
  },
  {
    id: 'snapshot-memory-file-refused',
    title: 'Memory cannot go to a file that cannot be made, nor beside a block job; the guest goes on',
    options: { ...RUNS, data: true },
    needs: ['saves', 'copy', 'readyEvent'],
    async check(lab) {
      const before = await lab.stateXml();
      const at = lab.seen.length;
      const nowhere = "<memory snapshot='external' file='/nonexistent/mem'/>";
      await expectAnswer(
        lab,
        take(lab, 'none', 0, nowhere),
        {
          code: ErrorCode.SYSTEM_ERROR,
          says: "Failed to create file '/nonexistent/mem': No such file or directory",
        },
        'memory in a directory that is not there',
      );
      expectEqual(lab.seen.slice(at), ['life 3 0', 'life 4 0'], 'events of the refusal');
      await lab.startJob('ready-copy');
      const others = `${memoryXml(lab, 'b.mem')}<disks><disk name='vda' snapshot='no'/></disks>`;
      await expectAnswer(
        lab,
        take(lab, 'own', 0, memoryXml(lab, 'a.mem')),
        { code: ErrorCode.BLOCK_COPY_ACTIVE, says: "disk 'vda' already in active block job" },
        'a snapshot of the disk that is copied',
      );
      await expectAnswer(
        lab,
        take(lab, 'other', 0, others),
        { code: ErrorCode.OPERATION_INVALID, says: 'domain has active block job' },
        'memory beside a copy of another disk',
      );
      await lab.domain.blockJobAbort('vda');
      expectEqual(await lab.stateXml(), before, 'domain XML after the refusals');
      expectEqual(await lab.present(['a.mem', 'b.mem', 'other.other']), [], 'files after the refusals');
      expectEqual((await lab.domain.getState()).state, 1, 'state after the refusals');
    },
  },
  {
    id: 'snapshot-inactive-domain',
    title: 'A snapshot of a domain that runs keeps its definition too, and a revert brings that back',
    options: RUNS,
    async check(lab) {
      const { domain, world } = lab;
      const more = (await domain.getXMLDesc(DomainXMLFlags.INACTIVE)).replace(
        '<name>',
        '<title>then</title><name>',
      );
      await world.connection.defineXML(more);
      const first = await take(lab, 'first');
      const xml = await first.getXMLDesc();
      const inactive = /<inactiveDomain .*<\/inactiveDomain>/s.exec(xml)?.[0] ?? '';
      expect(inactive.includes('<title>then</title>'), 'the snapshot does not have the definition');
      expect(!xml.replace(inactive, '').includes('then'), 'the snapshot takes the definition for what ran');
      await world.connection.defineXML(more.replace('then', 'now'));
      await domain.revertToSnapshot(first);
      const kept = await domain.getXMLDesc(DomainXMLFlags.INACTIVE);
      expect(kept.includes('<title>then</title>'), 'the revert did not bring the definition back');
    },
  },
];

/** One contract per claim. */
export const offMomentContracts: readonly Contract[] = CLAIMS.map(
  ({ id, title, options, needs = [], check }) =>
    example({
      id: `api/${id}`,
      title,
      source:
        'virDomainSnapshotCreateXML, virDomainRevertToSnapshot, virDomainSnapshotDelete; seen on libvirt 9.0',
      needs: ['extras', ...needs],
      async check(world) {
        await check(await Lab.start(world, options));
      },
    }),
);
