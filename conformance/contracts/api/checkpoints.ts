/** Checkpoints: from when on changes are recorded, where, and that no change of images loses any. */
import {
  CheckpointCreateFlags,
  CheckpointDeleteFlags,
  CheckpointListFlags,
  CheckpointXMLFlags,
  type DomainCheckpoint,
  DomainUndefineFlags,
  ErrorCode,
  ErrorDomain,
  SnapshotCreateFlags,
} from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Lab, type LabOptions } from '../../lab.ts';
import type { Capability } from '../../target.ts';
import { expectAnswer } from './refusals/row.ts';

const { REDEFINE, REDEFINE_VALIDATE } = CheckpointCreateFlags;
const { CHILDREN, CHILDREN_ONLY, METADATA_ONLY } = CheckpointDeleteFlags;
const { ROOTS, LEAVES, NO_LEAVES, TOPOLOGICAL } = CheckpointListFlags;
const { NO_DOMAIN, SIZE } = CheckpointXMLFlags;
/** What one bit of a bitmap stands for. */
const GRAIN = 65_536;
const LIST_HAS_CHECKPOINT = 0x4000;
const LIST_NO_CHECKPOINT = 0x8000;
const ANY_TIME = '<creationTime>T</creationTime>';

const checkpointXml = (name: string, disk = 'vda'): string =>
  `<domaincheckpoint><name>${name}</name><disks><disk name='${disk}'/></disks></domaincheckpoint>`;

const make = ({ domain }: Lab, name: string) => domain.checkpointCreateXML(checkpointXml(name));

/** The guest writes some grains of vda. */
async function write({ world }: Lab, from: number, grains = 1): Promise<void> {
  const guest = world.session.guest('lab', 'vda');
  await guest.write({ offsetBytes: from * GRAIN, lengthBytes: grains * GRAIN, byte: 7 });
}

/** How many grains of vda have changed since a checkpoint. */
async function changed(checkpoint: DomainCheckpoint): Promise<number> {
  const xml = await checkpoint.getXMLDesc(SIZE | NO_DOMAIN);
  return Number(/<disk name=.vda.[^>]*size=.(\d+)./.exec(xml)?.[1]) / GRAIN;
}

/** Names of the recording, persistent bitmaps of each image of vda, active first. */
async function recording(lab: Lab): Promise<string[][]> {
  const { return: nodes } = JSON.parse(await lab.monitor('query-named-block-nodes'));
  const xml = await lab.domain.getXMLDesc();
  const [vda = ''] = /<disk(?:(?!<disk).)*?<target dev=.vda./s.exec(xml) ?? [];
  return [...vda.matchAll(/index=.(\d+)./g)].map(([, index]) => {
    const node = nodes.find(
      (each: Record<string, unknown>) => each['node-name'] === `libvirt-${index}-format`,
    );
    const bitmaps: Record<string, unknown>[] = node?.['dirty-bitmaps'] ?? [];
    return bitmaps
      .filter(({ recording: on, persistent }) => on === true && persistent === true)
      .map(({ name }) => String(name))
      .sort();
  });
}

const names = (checkpoints: readonly DomainCheckpoint[]): string[] => checkpoints.map(({ name }) => name);

interface Claim {
  readonly id: string;
  readonly title: string;
  readonly options?: LabOptions;
  readonly needs?: readonly Capability[];
  check(lab: Lab): Promise<void>;
}

const CLAIMS: readonly Claim[] = [
  {
    id: 'checkpoint-records',
    title:
      'A checkpoint has a persistent bitmap of its name in the active image record what changes from then on',
    async check(lab) {
      await write(lab, 0, 2);
      const first = await make(lab, 'first');
      expectEqual((await recording(lab))[0], ['first'], 'bitmaps of the active image');
      expectEqual(await changed(first), 0, 'grains that changed at once');
      await write(lab, 1);
      const second = await make(lab, 'second');
      await write(lab, 5, 2);
      expectEqual([await changed(first), await changed(second)], [3, 2], 'grains that changed since each');
      expectEqual(
        (await second.getXMLDesc(NO_DOMAIN))
          .replace(/\s+/g, '')
          .replace(/<creationTime>\d+<\/creationTime>/, ANY_TIME),
        `<domaincheckpoint><name>second</name><parent><name>first</name></parent>${ANY_TIME}<disks>` +
          `<diskname='vda'checkpoint='bitmap'bitmap='second'/><diskname='vdb'checkpoint='no'/></disks></domaincheckpoint>`,
        'XML of the second checkpoint',
      );
      expect((await second.getXMLDesc()).includes('<domain type='), 'the XML does not have the domain');
    },
  },
  {
    id: 'checkpoint-of-every-disk',
    title:
      'A checkpoint that names no disk is of every disk that can be written to, and makes a name of the time',
    options: { disks: ['cdrom', 'readonly'] },
    async check(lab) {
      const all = await lab.domain.checkpointCreateXML('<domaincheckpoint/>');
      expect(/^\d+$/.test(all.name), `the name is no time: ${all.name}`);
      const xml = await all.getXMLDesc(NO_DOMAIN);
      const disks = [...xml.matchAll(/<disk name=.(\w+). checkpoint=.(\w+)./g)].map(([, ...disk]) =>
        disk.join(' '),
      );
      expectEqual(
        disks.sort(),
        ['hda no', 'vda bitmap', 'vdb bitmap', 'vdr no'],
        'what is recorded of each disk',
      );
    },
  },
  {
    id: 'checkpoints-listed',
    title: 'Checkpoints know whom they came from, and lists tell by it',
    async check(lab) {
      const { domain } = lab;
      for (const name of ['one', 'two', 'three']) await make(lab, name);
      expectEqual(names(await domain.listAllCheckpoints()), ['one', 'two', 'three'], 'checkpoints');
      expectEqual(names(await domain.listAllCheckpoints(ROOTS)), ['one'], 'those that came from none');
      expectEqual(names(await domain.listAllCheckpoints(LEAVES)), ['three'], 'those that none came from');
      expectEqual(
        names(await domain.listAllCheckpoints(NO_LEAVES | TOPOLOGICAL)),
        ['one', 'two'],
        'the others',
      );
      const answer = (says: string) => ({ code: ErrorCode.NO_DOMAIN_CHECKPOINT, says });
      await expectAnswer(
        lab,
        domain.checkpointLookupByName('nope'),
        answer("no domain checkpoint with matching name 'nope'"),
        'a name that is none',
      );
      const one = await domain.checkpointLookupByName('one');
      await expectAnswer(
        lab,
        one.getParent(),
        answer("checkpoint 'one' does not have a parent"),
        'no parent',
      );
      expectEqual(names(await one.listAllChildren()), ['two'], 'children');
      expectEqual(names(await one.listAllChildren(ROOTS)), ['two', 'three'], 'descendants');
      const three = await domain.checkpointLookupByName('three');
      expectEqual((await three.getParent()).name, 'two', 'parent');
    },
  },
  {
    id: 'checkpoint-deleted',
    title:
      'A deleted checkpoint takes its bitmap with it, a forgotten one does not; who came from it goes to its parent',
    async check(lab) {
      const { domain } = lab;
      for (const name of ['a', 'b', 'c', 'd', 'e']) await make(lab, name);
      const of = (name: string) => domain.checkpointLookupByName(name);
      await expectAnswer(
        lab,
        (await of('b')).delete(CHILDREN | CHILDREN_ONLY),
        {
          code: ErrorCode.INVALID_ARG,
          domain: ErrorDomain.DOMAIN_CHECKPOINT,
          says:
            "Flags 'VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN' and 'VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN_ONLY' " +
            'are mutually exclusive',
          bare: true,
        },
        'a deletion with children in two ways',
      );
      await (await of('b')).delete();
      expectEqual((await recording(lab))[0], ['a', 'c', 'd', 'e'], 'bitmaps after b was deleted');
      expectEqual((await (await of('c')).getParent()).name, 'a', 'parent of c');
      await (await of('c')).delete(METADATA_ONLY);
      expectEqual((await recording(lab))[0], ['a', 'c', 'd', 'e'], 'bitmaps after c was forgotten');
      await (await of('d')).delete(CHILDREN_ONLY);
      expectEqual(
        names(await domain.listAllCheckpoints()),
        ['a', 'd'],
        'checkpoints without the children of d',
      );
      const next = await make(lab, 'f');
      expectEqual((await next.getParent()).name, 'd', 'parent of the next one');
      await (await of('a')).delete(CHILDREN);
      expectEqual(names(await domain.listAllCheckpoints()), [], 'checkpoints in the end');
      expectEqual((await recording(lab))[0], ['c'], 'bitmaps in the end');
    },
  },
  {
    id: 'checkpoint-follows-a-pivot',
    title: 'What was recorded goes on in the image that a copy or an active commit pivots to',
    options: { data: true },
    needs: ['copy', 'activeCommit', 'readyEvent'],
    async check(lab) {
      const first = await make(lab, 'first');
      await write(lab, 1);
      await lab.startJob('ready-copy');
      const during = await make(lab, 'during');
      await write(lab, 3);
      await lab.domain.blockJobAbort('vda', 2);
      await write(lab, 5);
      expectEqual(await recording(lab), [['during', 'first']], 'bitmaps after the copy');
      expectEqual([await changed(first), await changed(during)], [3, 2], 'changes known after the copy');
      await lab.snapshot(SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA);
      await write(lab, 7);
      await lab.domain.blockCommit('vda', null, null, 0, 4);
      await lab.world.until('the commit', async () => {
        const info = await lab.domain.getBlockJobInfo('vda');
        return info?.cur === info?.end && info?.cur !== 0 && lab.seen.includes('job vda 4 3');
      });
      await lab.domain.blockJobAbort('vda', 2);
      expectEqual(await recording(lab), [['during', 'first']], 'bitmaps after the commit');
      expectEqual([await changed(first), await changed(during)], [4, 3], 'changes known after the commit');
    },
  },
  {
    id: 'checkpoint-follows-images',
    title: 'A snapshot, a commit below it and a pull lose nothing of what was recorded',
    needs: ['commit', 'pull'],
    async check(lab) {
      const first = await make(lab, 'first');
      await write(lab, 1);
      const NO_METADATA = SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA;
      await lab.snapshot(NO_METADATA, 's1');
      await write(lab, 2);
      const second = await make(lab, 'second');
      await write(lab, 3);
      await lab.snapshot(NO_METADATA, 's2');
      await write(lab, 4);
      const [active, s1, top] = await recording(lab);
      expectEqual(
        [active, s1, top],
        [['first', 'second'], ['first', 'second'], ['first']],
        'bitmaps of the chain',
      );
      expectEqual([await changed(first), await changed(second)], [4, 2], 'changes known of a chain');
      await lab.domain.blockCommit('vda', lab.path('top'), lab.path('s1'));
      await lab.idle();
      expectEqual([await changed(first), await changed(second)], [4, 2], 'changes known after the commit');
      await lab.domain.blockPull('vda');
      await lab.idle();
      expectEqual([await changed(first), await changed(second)], [4, 2], 'changes known after the pull');
    },
  },
  {
    id: 'checkpoint-of-a-chain-deleted',
    title: 'A checkpoint is deleted from each image that recorded for it',
    async check(lab) {
      const first = await make(lab, 'first');
      await lab.snapshot(SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA);
      expectEqual((await recording(lab)).slice(0, 2), [['first'], ['first']], 'bitmaps before');
      await first.delete();
      expectEqual((await recording(lab)).slice(0, 2), [[], []], 'bitmaps after');
    },
  },
  {
    id: 'checkpoint-redefined',
    title:
      'A checkpoint that is told of again is what it was; its bitmaps are looked for where that is asked',
    async check(lab) {
      const { domain } = lab;
      const first = await make(lab, 'first');
      const xml = await first.getXMLDesc();
      await first.delete(METADATA_ONLY);
      const again = await domain.checkpointCreateXML(xml, REDEFINE | REDEFINE_VALIDATE);
      expectEqual(await again.getXMLDesc(), xml, 'XML of the checkpoint');
      const other = xml
        .replace('<name>first</name>', '<name>other</name>')
        .replace("bitmap='first'", "bitmap='other'");
      await expectAnswer(
        lab,
        domain.checkpointCreateXML(other, REDEFINE | REDEFINE_VALIDATE),
        { code: ErrorCode.CHECKPOINT_INCONSISTENT, says: "missing or broken bitmap 'other' for disk 'vda'" },
        'a checkpoint without its bitmap',
      );
      await domain.checkpointCreateXML(other, REDEFINE);
      await expectAnswer(
        lab,
        (await domain.checkpointLookupByName('other')).delete(),
        { code: ErrorCode.INTERNAL_ERROR, says: "bitmap 'other' not found in backing chain of 'vda'" },
        'the deletion of a checkpoint without its bitmap',
      );
      const child = xml.replace('<creationTime>', '<parent><name>first</name></parent><creationTime>');
      await expectAnswer(
        lab,
        domain.checkpointCreateXML(child, REDEFINE),
        {
          code: ErrorCode.INVALID_ARG,
          domain: ErrorDomain.DOMAIN,
          says: 'cannot set moment first as its own parent',
        },
        'a checkpoint that is its own parent',
      );
    },
  },
  {
    id: 'checkpoints-of-a-domain-that-is-off',
    title: 'Checkpoints outlive the end of their domain, and have to be given up by name with its definition',
    options: { persistent: true },
    async check(lab) {
      const { domain, world } = lab;
      const listed = async (flags: number) =>
        (await world.connection.listAllDomains(flags)).map(({ name }) => name);
      expectEqual(await listed(LIST_NO_CHECKPOINT), ['lab'], 'domains without checkpoints');
      const first = await make(lab, 'first');
      expectEqual(await listed(LIST_HAS_CHECKPOINT), ['lab'], 'domains with checkpoints');
      await write(lab, 1);
      await domain.destroy();
      const invalid = (says: string) => ({ code: ErrorCode.OPERATION_INVALID, says });
      await expectAnswer(
        lab,
        domain.undefine(),
        invalid('cannot delete inactive domain with 1 checkpoints'),
        'undefine',
      );
      await expectAnswer(
        lab,
        first.delete(),
        { code: ErrorCode.OPERATION_UNSUPPORTED, says: 'cannot delete checkpoint for inactive domain' },
        'the deletion of a checkpoint of a domain that is off',
      );
      await expectAnswer(
        lab,
        first.getXMLDesc(SIZE),
        { ...invalid('domain is not running'), domain: ErrorDomain.DOMAIN },
        'how much has changed on a domain that is off',
      );
      await domain.create();
      expectEqual((await recording(lab))[0], ['first'], 'bitmaps after the next start');
      expectEqual(await changed(first), 1, 'changes known after the next start');
      await domain.destroy();
      await domain.undefine(DomainUndefineFlags.CHECKPOINTS_METADATA);
      expectEqual(await listed(0), [], 'domains');
    },
  },
];

/** One contract per claim. */
export const checkpointContracts: readonly Contract[] = CLAIMS.map(
  ({ id, title, options, needs = [], check }) =>
    example({
      id: `api/${id}`,
      title,
      source: 'virDomainCheckpointCreateXML and its family; seen on libvirt 9.0 with QEMU 7.2',
      needs: ['extras', ...needs],
      async check(world) {
        await check(await Lab.start(world, options));
      },
    }),
);
