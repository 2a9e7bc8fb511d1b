/** Internal snapshots, redefinition and reverts, above a driver that does what it is told; as a live libvirt 9.0 does it. */
import { describe, expect, test } from 'vitest';
import { MemoryState, recoverConnection, SnapshotCreateFlags } from '../../../../src/index.ts';
import { FakeDriver } from '../fake-driver.ts';
import { boot, diskXml, domainXml, machineOf, refusal, UUID } from '../lab.ts';

const { REDEFINE, CURRENT, DISK_ONLY, HALT } = SnapshotCreateFlags;
const VDA = diskXml('vda', '/img/top');
const named = (name: string, more = ''): string =>
  `<domainsnapshot><name>${name}</name>${more}</domainsnapshot>`;

async function lab(persistent = true) {
  const found = await boot({ persistent, disks: VDA });
  found.seen.length = 0;
  const { domain } = found;
  const shape = async () => {
    const all = await domain.listAllSnapshots();
    const tree = await Promise.all(
      all.map(async (each) => {
        const parent = await each.getParent().catch(() => undefined);
        return `${each.name}<${parent?.name ?? ''}${(await each.isCurrent()) ? '*' : ''}`;
      }),
    );
    return tree.join(' ');
  };
  return { ...found, shape };
}

describe('internal snapshots', () => {
  test('the guest stands still while they are taken, and they say what it was', async () => {
    const { domain, machine, seen, shape } = await lab();
    const first = await domain.snapshotCreateXML(named('one', '<description>hello</description>'));
    expect(seen.splice(0)).toEqual(['life 3 0', 'life 4 0']);
    await domain.suspend();
    seen.length = 0;
    await domain.snapshotCreateXML(named('two'));
    expect(seen.splice(0)).toEqual([]);
    expect(machine.calls.map(({ name, argument }) => `${name} ${argument ?? ''}`.trim())).toEqual([
      'pause',
      'saveSnapshot one',
      'resume',
      'pause',
      'saveSnapshot two',
    ]);
    const xml = await first.getXMLDesc();
    expect(xml).toContain('<description>hello</description>\n  <state>running</state>');
    expect(xml).toContain("<memory snapshot='internal'/>");
    expect(xml).toContain("<disk name='vda' snapshot='internal'/>");
    expect(xml).not.toContain('<alias');
    expect(await (await domain.snapshotCurrent()).getXMLDesc()).toContain('<state>paused</state>');
    expect(await shape()).toBe('one< two<one*');
  });

  test('HALT ends the domain', async () => {
    const { domain, seen } = await lab();
    await domain.snapshotCreateXML(named('one'), HALT);
    expect(seen).toEqual(['life 3 0', 'life 5 6']);
    expect(await domain.getState()).toEqual({ state: 5, reason: 7 });
  });

  test.each([
    [true, 0, ['life 5 6', 'life 2 3', 'life 4 2', 'life 0 3'], { state: 1, reason: 4 }],
    [true, 2, ['life 5 6', 'life 2 3', 'life 3 5', 'life 0 3'], { state: 3, reason: 7 }],
    [false, 0, ['life 5 6', 'life 2 3', 'life 4 2'], { state: 1, reason: 4 }],
  ] as const)('a revert, persistent %s, flags %i', async (persistent, flags, events, state) => {
    const { domain, driver, seen, shape } = await lab(persistent);
    const one = await domain.snapshotCreateXML(named('one'));
    await domain.snapshotCreateXML(named('two'));
    seen.length = 0;
    await domain.revertToSnapshot(one, flags);
    expect(seen).toEqual(events);
    expect(await domain.getState()).toEqual(state);
    expect(machineOf(driver).spec.loadSnapshot).toBe('one');
    expect(await shape()).toBe('one<* two<one');
  });

  test('a revert from being shut off starts the domain', async () => {
    const { domain, seen } = await lab();
    const one = await domain.snapshotCreateXML(named('one'));
    await domain.destroy();
    seen.length = 0;
    await domain.revertToSnapshot(one);
    expect(seen).toEqual(['life 2 3', 'life 4 2', 'life 0 3']);
  });

  test('deletion, alone and with children', async () => {
    const { domain, machine, shape } = await lab();
    for (const name of ['one', 'two', 'three']) await domain.snapshotCreateXML(named(name));
    machine.calls.length = 0;
    await (await domain.snapshotLookupByName('two')).delete();
    expect(await shape()).toBe('one< three<one*');
    await (await domain.snapshotLookupByName('one')).delete(1);
    expect(machine.calls.map(({ argument }) => argument)).toEqual(['two', 'three', 'one']);
    expect(await domain.snapshotNum()).toBe(0);
  });

  test('deletion below another image than the one in use is refused', async () => {
    const { domain } = await lab();
    const one = await domain.snapshotCreateXML(named('one'));
    await domain.snapshotCreateXML(named('two'), DISK_ONLY);
    expect(await refusal(one.delete())).toEqual([
      84,
      10,
      "Operation not supported: disk image 'vda' for internal snapshot 'one' is not the same as disk image currently used by VM",
    ]);
  });

  test.each([
    [
      'raw disk',
      diskXml('vda', '/img/top', { format: 'raw' }),
      '',
      [67, 10, 'unsupported configuration: internal snapshot for disk vda unsupported for storage type raw'],
    ],
    [
      'no memory',
      VDA,
      "<memory snapshot='no'/>",
      [84, 10, 'Operation not supported: internal snapshot of a running VM must include the memory state'],
    ],
    [
      'no file',
      VDA,
      "<memory snapshot='external'/>",
      [27, 35, 'XML error: external memory snapshots require a filename'],
    ],
    [
      'relative file',
      VDA,
      "<memory snapshot='external' file='x'/>",
      [27, 35, 'XML error: memory snapshot file path (x) must be absolute'],
    ],
    [
      'bad memory',
      VDA,
      "<memory snapshot='zz'/>",
      [27, 5, "XML error: Invalid value for attribute 'snapshot' in element 'memory': 'zz'."],
    ],
  ] as const)('%s is refused', async (_what, disks, more, expected) => {
    const { domain } = await boot({ persistent: true, disks });
    expect(await refusal(domain.snapshotCreateXML(named('s', more)))).toEqual(expected);
  });
});

describe('redefinition', () => {
  const told = async () => {
    const found = await lab();
    const one = await found.domain.snapshotCreateXML(named('one'));
    return { ...found, xml: await one.getXMLDesc() };
  };

  test('a snapshot that was forgotten is told of again, and is what it was', async () => {
    const { domain, machine, xml, shape } = await told();
    await (await domain.snapshotLookupByName('one')).delete(2);
    machine.calls.length = 0;
    const again = await domain.snapshotCreateXML(xml, REDEFINE);
    expect(await shape()).toBe('one<');
    await domain.snapshotCreateXML(xml, REDEFINE | CURRENT);
    expect(await shape()).toBe('one<*');
    expect(await again.getXMLDesc()).toBe(xml);
    expect(machine.calls).toEqual([]);
  });

  const other = '00000000-0000-4000-8000-000000000009';
  test.each([
    [
      'no name',
      (xml: string) => xml.replace('<name>one</name>', ''),
      0,
      [27, 35, 'XML error: a redefined snapshot must have a name'],
    ],
    [
      'no time',
      (xml: string) => xml.replace(/<creationTime>.*<\/creationTime>/, ''),
      0,
      [1, 35, 'internal error: missing creationTime from existing snapshot'],
    ],
    [
      'bad state',
      (xml: string) => xml.replace('>running<', '>foo<'),
      0,
      [67, 35, "unsupported configuration: Invalid state 'foo' in domain snapshot XML"],
    ],
    [
      'no domain',
      (xml: string) => xml.replace(/<domain [\s\S]*<\/domain>/, ''),
      0,
      [1, 35, 'internal error: missing domain in snapshot'],
    ],
    [
      'off with memory',
      (xml: string) => xml.replace('>running<', '>shutoff<'),
      0,
      [27, 35, 'XML error: memory state cannot be saved with offline or disk-only snapshot'],
    ],
    [
      'other uuid',
      (xml: string) => xml.replace(UUID, other),
      0,
      [8, 35, `invalid argument: definition for snapshot one must use uuid ${UUID}`],
    ],
    [
      'disk-only',
      (xml: string) => xml,
      DISK_ONLY,
      [8, 35, 'invalid argument: disk-only flag for snapshot one requires disk-snapshot state'],
    ],
    [
      'own parent',
      (xml: string) => xml.replace('<state>', '<parent><name>one</name></parent><state>'),
      0,
      [8, 20, 'invalid argument: cannot set moment one as its own parent'],
    ],
    [
      'lost parent',
      (xml: string) => xml.replace('<state>', '<parent><name>nope</name></parent><state>'),
      0,
      [8, 20, 'invalid argument: parent nope for moment one not found'],
    ],
  ] as const)('%s is refused', async (_what, change, flags, expected) => {
    const { domain, xml } = await told();
    expect(await refusal(domain.snapshotCreateXML(change(xml), REDEFINE | flags))).toEqual(expected);
  });

  test('a circle of parents is refused', async () => {
    const { domain, xml } = await told();
    const below = (name: string, parent: string) =>
      xml
        .replace('<name>one<', `<name>${name}<`)
        .replace('<state>', `<parent><name>${parent}</name></parent><state>`);
    await domain.snapshotCreateXML(below('two', 'one'), REDEFINE);
    expect(await refusal(domain.snapshotCreateXML(below('one', 'two'), REDEFINE))).toEqual([
      8,
      20,
      'invalid argument: parent two would create cycle to one',
    ]);
  });
});

test('what is known of snapshots survives the connection', async () => {
  const state = new MemoryState();
  const driver = new FakeDriver();
  driver.chain('/img/top');
  const first = await recoverConnection({ uri: 'fake:///', driver, state: state.open() });
  const domain = await first.defineXML(domainXml(VDA));
  await domain.create();
  for (const name of ['one', 'two']) await domain.snapshotCreateXML(named(name));
  await (await domain.snapshotLookupByName('one')).delete(2);
  await domain.destroy();
  const xml = await (await domain.snapshotCurrent()).getXMLDesc();
  state.seize();
  const next = await recoverConnection({ uri: 'fake:///', driver, state: state.open() });
  const found = await next.lookupByName('vm');
  expect((await found.listAllSnapshots()).map(({ name }) => name)).toEqual(['two']);
  expect(await (await found.snapshotCurrent()).getXMLDesc()).toBe(xml);
});
