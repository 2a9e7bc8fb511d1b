import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryState, VirtError } from '../../../../src/index.ts';
import { readStatus } from '../../../../src/recovery.ts';
import { formatStatus, parseStatus } from '../../../../src/state/status.ts';

const UUID = '00000000-0000-4000-8000-000000000001';
const DISK =
  "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/><target dev='vda' bus='virtio'/></disk>";
const XML = `<domain type='qemu'><name>vm</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><devices>${DISK}</devices></domain>`;
const image = { type: 'file', path: '/a', format: 'qcow2', index: 1 } as const;
const copy = { type: 'file', path: '/b', format: 'qcow2', index: 2 } as const;

const status = {
  name: 'vm',
  uuid: UUID,
  persistent: XML,
  offReason: 0,
  run: {
    id: 1,
    handle: 'h',
    starting: false,
    state: { state: 1, reason: 1 },
    live: XML,
    lastIndex: 2,
    disks: [
      {
        xml: DISK,
        alias: 'virtio-disk0',
        chain: [image],
        mirror: { job: 'copy', image: copy, backing: [], ready: undefined },
        emptyIndex: undefined,
        next: undefined,
      },
    ],
    jobs: [
      {
        id: 'copy-vda-libvirt-1-format',
        kind: 'copy',
        disk: 'vda',
        state: 'pivoting',
        after: [copy],
        deletes: false,
        reuse: false,
        shallow: false,
        top: undefined,
        verdict: undefined,
      },
    ],
    pausedFor: { job: 'copy-vda-libvirt-1-format', resumes: true },
    armedByIndex: [1],
    leaving: undefined,
  },
  autostart: true,
  snapshots: undefined,
  checkpoints: undefined,
  outcomes: [{ disk: 'vda', kind: 'copy', outcome: 'unknown', source: '/a', destination: '/b' }],
} as const;

const stored = (text: string) => ({ key: UUID, place: '/state/vm.json', text });

describe('the status document', () => {
  test('reads back as it was written', () => {
    const read = parseStatus(stored(formatStatus(status)));
    expect(read).toMatchObject(JSON.parse(JSON.stringify(status)));
    expect(readStatus(stored(formatStatus(status))).run?.jobs[0]?.entry.request.kind).toBe('copy');
  });

  test.for([
    ['no JSON', '{', /JSON/],
    ['another document', '{"format": "x"}', /format is not one of/],
    ['a list', '[]', /is not an object/],
    ['another domain', formatStatus({ ...status, uuid: 'x' }), /uuid is not/],
    ['a broken definition', formatStatus({ ...status, persistent: '<domain' }), /Unexpected end/],
    [
      'the definition of another domain',
      formatStatus({ ...status, persistent: XML.replace('vm', 'mv') }),
      /another domain/,
    ],
    [
      'a job of no disk',
      formatStatus({ ...status, run: { ...status.run, jobs: [{ ...status.run.jobs[0], disk: 'vdz' }] } }),
      /does not fit/,
    ],
    [
      'an index that is no number',
      formatStatus(status).replace('"index": 1', '"index": "1"'),
      /chain\[0\]\.index is not a whole number/,
    ],
    [
      'a state from elsewhere',
      formatStatus(status).replace('"pivoting"', '"constructor"'),
      /state is not one of/,
    ],
  ] as const)('%s is refused, with its place and what to do', ([, text, why]) => {
    const read = () => readStatus(stored(text));
    expect(read).toThrow(VirtError);
    expect(read).toThrow(why);
    expect(read).toThrow('/state/vm.json');
    expect(read).toThrow(/Put it right or move it away/);
  });

  test('whatever is put in the place of a part of it, nothing but a VirtError comes of it', () => {
    const whole = formatStatus(status);
    const damage = fc.record({
      at: fc.nat(whole.length),
      cut: fc.nat(40),
      put: fc.oneof(fc.string({ maxLength: 20 }), fc.json({ maxDepth: 2 })),
    });
    fc.assert(
      fc.property(damage, ({ at, cut, put }) => {
        try {
          readStatus(stored(whole.slice(0, at) + put + whole.slice(at + cut)));
        } catch (error) {
          expect(error).toBeInstanceOf(VirtError);
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

describe('state in memory', () => {
  test('is held by one at a time, until it is closed or its holder dies', () => {
    const memory = new MemoryState();
    const first = memory.open();
    expect(() => memory.open()).toThrow(/in use/);
    first.write('a', '1');
    memory.seize();
    const second = memory.open();
    first.write('a', '2');
    first.close();
    expect(second.load().map(({ text }) => text)).toEqual(['1']);
    expect(() => memory.open()).toThrow(/in use/);
    second.remove('a');
    second.close();
    expect(memory.open().load()).toEqual([]);
  });
});
