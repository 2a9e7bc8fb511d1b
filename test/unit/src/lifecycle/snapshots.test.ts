/** Snapshots above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import { DomainXMLFlags, SnapshotCreateFlags, SnapshotListFlags } from '../../../../src/index.ts';
import { boot, cdromXml, diskXml, refusal } from '../lab.ts';

const { DISK_ONLY, NO_METADATA, REUSE_EXT, HALT, QUIESCE } = SnapshotCreateFlags;
const TWO = `${diskXml('vda', '/img/top')}${diskXml('vdb', '/img/other')}${cdromXml('/img/cd')}`;
const STATE = 'Requested operation is not valid: ';
const CONFIG_TEXT = 'unsupported configuration: ';

describe('snapshots', () => {
  const xml = (name: string, disks = "<disk name='vdb' snapshot='no'/>") =>
    `<domainsnapshot><name>${name}</name><disks>${disks}</disks></domainsnapshot>`;
  const external = (path: string, driver = '') =>
    `<disk name='vda' snapshot='external'>${driver}<source file='${path}'/></disk><disk name='vdb' snapshot='no'/>`;

  test('a chain grows, live and persistent, and keeps its metadata', async () => {
    const { domain, machine, seen } = await boot({ persistent: true, disks: TWO });
    seen.length = 0;
    await domain.snapshotCreateXML(xml('one'), DISK_ONLY);
    await domain.snapshotCreateXML(xml('two'), DISK_ONLY);
    expect(seen).toEqual([]);
    const overlays = machine.calls.filter(({ name }) => name === 'snapshot').map(({ argument }) => argument);
    expect(overlays).toMatchObject([
      [{ disk: 'vda', overlay: { path: '/img/top.one' } }],
      [{ active: { path: '/img/top.one' } }],
    ]);
    expect(await domain.getXMLDesc()).toMatch(/top\.two' index='7'(?:.|\n)*top\.one(?:.|\n)*\/img\/top'/);
    const inactive = await domain.getXMLDesc(DomainXMLFlags.INACTIVE);
    expect(inactive).toContain(`<source file='/img/top.two'/>
      <backingStore type='file'>
        <format type='qcow2'/>
        <source file='/img/top.one'/>
        <backingStore type='file'>
          <format type='qcow2'/>
          <source file='/img/top'/>
        </backingStore>
      </backingStore>`);
    const [one, two] = await domain.listAllSnapshots();
    expect(one?.name).toBe('one');
    expect((await two?.getParent())?.name).toBe('one');
    expect((await domain.snapshotCurrent()).name).toBe('two');
    expect((await domain.listAllSnapshots(SnapshotListFlags.ROOTS)).map(({ name }) => name)).toEqual(['one']);
    expect((await domain.listAllSnapshots(SnapshotListFlags.LEAVES)).map(({ name }) => name)).toEqual([
      'two',
    ]);
    expect(await two?.getXMLDesc()).toContain('<state>disk-snapshot</state>');
    await one?.delete(2);
    expect(await refusal(two?.getParent() ?? Promise.resolve())).toEqual([
      72,
      10,
      "Domain snapshot not found: snapshot 'two' does not have a parent",
    ]);
    await domain.destroy();
    expect(await refusal(domain.undefine())).toEqual([
      55,
      10,
      `${STATE}cannot delete inactive domain with 1 snapshots`,
    ]);
    await domain.undefine(2);
  });

  test('deletion commits the overlay, the active one with a pivot', async () => {
    const { domain, machine, driver, seen } = await boot({ disks: TWO });
    const first = await domain.snapshotCreateXML(xml('one'), DISK_ONLY);
    const second = await domain.snapshotCreateXML(xml('two'), DISK_ONLY);
    seen.length = 0;
    machine.on.startJob = (request) => {
      const { id, kind } = request as { id: string; kind: string };
      machine.emit(
        kind === 'commit' ? { type: 'job-ended', id, outcome: 'completed' } : { type: 'job-ready', id },
      );
    };
    machine.on.concludeJob = (argument) =>
      machine.emit({ type: 'job-ended', id: (argument as { id: string }).id, outcome: 'completed' });
    driver.files.set('/img/top.one', { kind: 'file', sizeBytes: 1 });
    await first.delete();
    expect(driver.files.has('/img/top.one')).toBe(false);
    await second.delete();
    expect(seen.filter((line) => line.startsWith('disk'))).toEqual([
      'disk vda 3 0',
      'disk vda 4 3',
      'disk vda 4 0',
    ]);
    expect(await domain.snapshotNum()).toBe(0);
    expect(await domain.getXMLDesc()).toContain("<source file='/img/top' ");
  });

  const refusals: readonly [string, string, number, readonly [number, number, string]][] = [
    [
      'no such disk',
      xml('u', "<disk name='vdz' snapshot='external'/>"),
      DISK_ONLY,
      [67, 35, `${CONFIG_TEXT}no disk named 'vdz'`],
    ],
    [
      'too many',
      xml('u', "<disk name='vda'/>".repeat(4)),
      DISK_ONLY,
      [67, 35, `${CONFIG_TEXT}too many disk snapshot requests for domain`],
    ],
    [
      'relative path',
      xml('u', external('z')),
      DISK_ONLY,
      [27, 35, "XML error: disk snapshot image path 'z' must be absolute"],
    ],
    [
      'internal',
      xml('u', "<disk name='vda' snapshot='internal'/>"),
      DISK_ONLY,
      [
        67,
        10,
        `${CONFIG_TEXT}active qemu domains require external disk snapshots; disk vda requested internal`,
      ],
    ],
    [
      'reuse missing',
      xml('u', external('/n')),
      DISK_ONLY | REUSE_EXT,
      [38, 10, 'missing existing file for disk vda: /n: No such file or directory'],
    ],
    [
      'exists',
      xml('u', external('/img/base')),
      DISK_ONLY,
      [
        67,
        10,
        `${CONFIG_TEXT}external snapshot file for disk vda already exists and is not a block device: /img/base`,
      ],
    ],
    [
      'raw',
      xml('u', external('/n', "<driver type='raw'/>")),
      DISK_ONLY,
      [67, 10, `${CONFIG_TEXT}external snapshot format for disk vda is unsupported: raw`],
    ],
    [
      'nothing',
      xml('u', "<disk name='vda' snapshot='no'/><disk name='vdb' snapshot='no'/>"),
      DISK_ONLY,
      [67, 10, `${CONFIG_TEXT}nothing selected for snapshot`],
    ],
    [
      'external, not disk-only',
      xml('u', external('/n')),
      0,
      [67, 35, `${CONFIG_TEXT}disk 'vda' must use snapshot mode 'internal'`],
    ],
    [
      'quiesce',
      xml('u', external('/n')),
      DISK_ONLY | QUIESCE,
      [74, 10, 'argument unsupported: QEMU guest agent is not configured'],
    ],
    [
      'quiesce alone',
      xml('u'),
      QUIESCE,
      [
        8,
        10,
        "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'",
      ],
    ],
    [
      'current alone',
      xml('u'),
      DISK_ONLY | 2,
      [
        8,
        35,
        "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'",
      ],
    ],
    [
      'redefine without metadata',
      xml('u'),
      1 | NO_METADATA,
      [
        8,
        35,
        "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA' are mutually exclusive",
      ],
    ],
    ['halt', xml('u'), DISK_ONLY | HALT, [55, 10, `${STATE}cannot halt after transient domain snapshot`]],
    [
      'other root',
      '<x/>',
      DISK_ONLY,
      [27, 5, "XML error: expecting root element of 'domainsnapshot', not 'x'"],
    ],
    [
      'name with a slash',
      xml('a/b'),
      DISK_ONLY,
      [35, 10, "invalid snapshot name 'a/b': name can't contain '/'"],
    ],
    [
      'name with a dot',
      xml('.x'),
      DISK_ONLY,
      [35, 10, "invalid snapshot name '.x': name can't start with '.'"],
    ],
    [
      'no disk name',
      xml('u', "<disk snapshot='external'/>"),
      DISK_ONLY,
      [1, 35, 'internal error: missing name from disk snapshot element'],
    ],
  ];
  test.each(refusals)('%s is refused', async (_what, text, flags, expected) => {
    const { domain, machine } = await boot({ disks: TWO });
    expect(await refusal(domain.snapshotCreateXML(text, flags))).toEqual(expected);
    expect(machine.calls).toEqual([]);
  });

  test('names are unique, lost ones are not found, reverts are refused', async () => {
    const { domain } = await boot({ disks: TWO });
    const taken = await domain.snapshotCreateXML(xml('s'), DISK_ONLY);
    expect(await refusal(domain.snapshotCreateXML(xml('s', external('/n')), DISK_ONLY))).toEqual([
      9,
      20,
      'operation failed: domain moment s already exists',
    ]);
    const loose = await domain.snapshotCreateXML(xml('l', external('/n')), DISK_ONLY | NO_METADATA);
    expect(await refusal(loose.getXMLDesc())).toEqual([
      72,
      10,
      "Domain snapshot not found: no domain snapshot with matching name 'l'",
    ]);
    expect(await refusal(domain.revertToSnapshot(taken))).toEqual([
      55,
      10,
      `${STATE}transient domain needs to request run or pause to revert to inactive snapshot`,
    ]);
    expect(await refusal(domain.revertToSnapshot(taken, 1))).toEqual([
      67,
      10,
      `${CONFIG_TEXT}revert to external snapshot not supported yet`,
    ]);
    expect(await refusal(taken.delete(1))).toEqual([
      67,
      10,
      `${CONFIG_TEXT}deletion of external disk snapshots with children not supported`,
    ]);
  });
});
