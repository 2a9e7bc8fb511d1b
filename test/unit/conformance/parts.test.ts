import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { copies, pulls } from '../../../conformance/arbitraries.ts';
import { canonicalRuns, DiskModel } from '../../../conformance/model.ts';
import { ProgressLine } from '../../../conformance/progress.ts';
import { type Report, renderReport } from '../../../conformance/report/report.ts';
import { readDisk } from '../../../conformance/xml.ts';
import { runsOf } from '../../../entry/targets/host-images.ts';

describe('the model of a disk', () => {
  const written = { offsetBytes: 512, lengthBytes: 1024, byte: 7 };

  test('finds the first byte that differs', () => {
    const model = new DiskModel(4096);
    model.write(written);
    expect(model.firstDifference([written])).toBeUndefined();
    expect(model.firstDifference([])).toEqual({ offsetBytes: 512, expected: 7, found: 0 });
    expect(model.firstDifference([{ ...written, lengthBytes: 1536 }])?.offsetBytes).toBe(1536);
    expect(model.firstDifference([{ ...written, lengthBytes: 1025 }])?.offsetBytes).toBe(1537);
  });

  test('keeps a snapshot apart from later writes', () => {
    const model = new DiskModel(4096);
    const before = model.snapshot();
    model.write(written);
    expect(before.firstDifference([])).toBeUndefined();
    expect(model.firstDifference([])).toBeDefined();
  });
});

describe('runs of bytes', () => {
  test('are sorted and merged, without zeroes', () => {
    const run = (offsetBytes: number, byte: number) => ({ offsetBytes, lengthBytes: 512, byte });
    expect(canonicalRuns([run(1024, 3), run(0, 0), run(512, 3), run(2048, 3)])).toEqual([
      { offsetBytes: 512, lengthBytes: 1024, byte: 3 },
      { offsetBytes: 2048, lengthBytes: 512, byte: 3 },
    ]);
  });

  test('of a buffer add up to the buffer', () => {
    const stretch = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(3));
    fc.assert(
      fc.property(fc.array(stretch), (stretches) => {
        const bytes = Uint8Array.from(stretches.flatMap(([length, byte]) => Array(length).fill(byte)));
        const rebuilt = new Uint8Array(bytes.length);
        for (const { offsetBytes, lengthBytes, byte } of runsOf(bytes))
          rebuilt.fill(byte, offsetBytes, offsetBytes + lengthBytes);
        expect(rebuilt).toEqual(bytes);
      }),
    );
  });
});

describe('generated plans', () => {
  test('keep every write on the disk, in whole sectors, and held ones have data to move', () => {
    const plans = fc.oneof(copies({ held: true }), pulls({ held: true }));
    fc.assert(
      fc.property(plans, ({ disk, during, later }) => {
        const writes = [...disk.layers.flatMap((layer) => layer.writes), ...during, ...later];
        for (const { offsetBytes, lengthBytes } of writes) {
          expect(lengthBytes).toBeGreaterThan(0);
          expect(offsetBytes + lengthBytes).toBeLessThanOrEqual(disk.capacityBytes);
          expect([offsetBytes % 512, lengthBytes % 512]).toEqual([0, 0]);
        }
        expect(writes.some(({ offsetBytes, byte }) => offsetBytes === 0 && byte !== 0)).toBe(true);
      }),
    );
  });

  test('never copy shallow into raw', () => {
    fc.assert(fc.property(copies(), ({ shallow, format }) => !(shallow && format === 'raw')));
  });
});

test('a disk is read out of the domain XML, whatever quotes it has', () => {
  const xml = `<domain><devices>
    <disk type="file"><source file="/other"/><target dev="vdb"/></disk>
    <disk type='file'><driver name='qemu' type='qcow2'/>
      <source file='/top' index='3'/>
      <backingStore type='file' index='4'><format type='qcow2'/><source file='/base'/><backingStore/></backingStore>
      <mirror type='file' job='copy' ready='yes'><source file='/copy' index='6'/><backingStore/></mirror>
      <target dev='vda' bus='virtio'/></disk>
  </devices></domain>`;
  expect(readDisk(xml, 'vda')).toEqual({
    chain: ['/top', '/base'],
    mirror: { path: '/copy', job: 'copy', ready: 'yes' },
  });
  expect(readDisk(xml, 'vdb')).toEqual({ chain: ['/other'] });
  expect(() => readDisk(xml, 'vdc')).toThrow('no disk vdc');
});

test('a report shows the matrix, each failure in full, skips by reason and escaped canaries', () => {
  const text = { source: 'somewhere', title: 'A claim' };
  const pass = { status: 'pass', runs: 100, seed: 5, ms: 1234 } as const;
  const fail = { status: 'fail', runs: 3, seed: 5, ms: 20, reason: 'it broke\npath: 0:1' } as const;
  const skip = { status: 'skip', runs: 0, seed: 5, ms: 0, reason: 'no QEMU found' } as const;
  const report: Report = {
    contracts: [
      { id: 'api/a', ...text, results: { sim: pass, qemu: skip } },
      { id: 'api/b', ...text, results: { sim: fail, qemu: skip } },
    ],
    canaries: [{ id: 'c', contract: 'api/a', caught: false }],
    summary: {
      seed: 5,
      passed: 1,
      failed: 1,
      skipped: 2,
      canariesCaught: 0,
      canariesPlanted: 1,
      ms: 2000,
      targets: { sim: 'simulated', qemu: 'no QEMU found' },
      ok: false,
    },
  };
  expect(renderReport(report)).toMatchInlineSnapshot(`
    "sim: simulated
    qemu: no QEMU found

    contract  sim                 qemu
    api/a     pass  100 in 1.2 s  skip
    api/b     fail  3 in 20 ms    skip

    FAIL api/b on sim: A claim
      it broke
      path: 0:1

    skipped 2 on qemu: no QEMU found
    canaries: 0 of 1 caught
    ESCAPED c: api/a did not fail
    1 passed, 1 failed, 2 skipped in 2.0 s, seed 5"
  `);
});

describe('the progress line', () => {
  const state = { target: 'sim', contract: 'api/a', done: 0, total: 15, cases: 3 };
  const shown = (isTTY: boolean, at: readonly number[]) => {
    const written: string[] = [];
    let now = 0;
    const line = new ProgressLine({ isTTY, columns: 40, write: (text) => written.push(text) }, () => now);
    for (const time of at) {
      now = time;
      line.show({ ...state, cases: time });
    }
    line.clear();
    return written;
  };

  test('is rewritten on a terminal, not too often, and fits it', () => {
    const written = shown(true, [0, 50, 100]);
    expect(written).toHaveLength(3);
    expect(written.every((text) => text.startsWith('\r\u001b[K') && text.length <= 39 + 4)).toBe(true);
  });

  test('is sparse elsewhere', () => {
    expect(shown(false, [0, 50, 5_000, 10_000])).toEqual([
      'sim contracts 1/15, 0 cases: api/a\n',
      'sim contracts 1/15, 10000 cases: api/a\n',
    ]);
  });
});
