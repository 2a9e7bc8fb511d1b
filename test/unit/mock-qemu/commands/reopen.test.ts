/** blockdev-reopen, as QEMU 7.2 and 10.0 were seen to do it. */
import { describe, expect, test } from 'vitest';
import { format } from '../../../../mock-qemu/core/jobs/create.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, MIB } from './bench.ts';

/** Nodes `a`, `b` (read-only) and `o` over `a`, each qcow2 on a file node `f…`. */
function withNodes(): Bench {
  const bench = new Bench();
  for (const name of ['a', 'b', 'o']) {
    const image = bench.store.create(`/img/${name}`);
    const header = { clusterSizeBytes: 65536, ...(name === 'o' && { backingName: '/img/a' }) };
    format(image, { format: 'qcow2', sizeBytes: 8 * MIB, header });
    bench.run('blockdev-add', { driver: 'file', 'node-name': `f${name}`, filename: `/img/${name}` });
    const rest = { ...(name === 'b' && { 'read-only': true }), ...(name === 'o' && { backing: 'a' }) };
    bench.run('blockdev-add', { driver: 'qcow2', 'node-name': name, file: `f${name}`, ...rest });
  }
  bench.heard();
  return bench;
}

const reopen = (bench: Bench, ...options: JsonObject[]): unknown => bench.run('blockdev-reopen', { options });
const node = (name: string, more: JsonObject = {}): JsonObject => ({
  driver: 'qcow2',
  'node-name': name,
  file: `f${name}`,
  ...more,
});

describe('blockdev-reopen', () => {
  test.each([
    [{ driver: 'qcow2' }, "Parameter 'options[0].file' is missing"],
    [{ driver: 'qcow2', file: 'fa' }, 'node-name not specified'],
    [{ ...node('a'), 'node-name': 'zz' }, "Failed to find node with node-name='zz'"],
    [{ ...node('a'), driver: 'raw' }, "Cannot change the option 'driver'"],
    [node('o'), "backing is missing for 'o'"],
    [node('o', { backing: 'o' }), "Making 'o' a backing child of 'o' would create a cycle"],
    [node('o', { backing: 'nope' }), "Cannot find device='' nor node-name='nope'"],
    [node('o', { backing: { driver: 'raw', file: 'fb' } }), "Cannot change the option 'backing.driver'"],
    [{ driver: 'file', 'node-name': 'fa', filename: '/img/b' }, "Cannot change the option 'filename'"],
    [node('o', { backing: 'a', bogus: 1 }), "Parameter 'options[0].bogus' is unexpected"],
    [
      node('b', { file: 'fa' }),
      expect.stringMatching(
        /^Permission conflict on node 'fa': .* by node 'a' \(.*\) and unshared by node 'b' \(uses node 'fa' as 'file' child\)\.$/,
      ),
    ],
  ])('%j is refused', (options, complaint) => {
    expect(reopen(withNodes(), options)).toEqual(complaint);
  });

  test('changes backing files, rights and discards; what is left out is the default again', () => {
    const bench = withNodes();
    expect(reopen(bench, node('o', { backing: 'b' }))).toEqual({});
    expect(bench.qemu.vm.graph.nodes.get('o')?.backing?.child.name).toBe('b');
    expect(reopen(bench, node('o', { backing: null }))).toEqual({});
    expect(bench.qemu.vm.graph.nodes.get('o')?.backing).toBeUndefined();
    expect(reopen(bench, node('a', { 'read-only': true }))).toEqual({});
    expect(bench.store.open('/img/a').locks.counts).toEqual({ readers: 1, writers: 0 });
    expect(reopen(bench, node('a'))).toEqual({});
    expect(bench.store.open('/img/a').locks.counts).toEqual({ readers: 0, writers: 1 });
    expect(reopen(bench, node('a', { discard: 'unmap' }))).toEqual({});
    expect(bench.qemu.vm.graph.nodes.get('a')?.unmap).toBe(true);
  });

  test('is all or nothing', () => {
    const bench = withNodes();
    reopen(bench, node('a', { 'read-only': true }), node('zz'));
    expect(bench.qemu.vm.graph.nodes.get('a')?.readOnly).toBe(false);
  });

  test('lets a job flap and keeps its target writable', () => {
    const bench = withNodes();
    reopen(bench, node('b'));
    bench.run('blockdev-mirror', { 'job-id': 'm', device: 'o', target: 'b', sync: 'none' });
    bench.idle();
    bench.heard();
    expect(reopen(bench, node('b', { 'read-only': true }))).toBe(
      "Read-only block node 'b' cannot support read-write users",
    );
    expect(bench.heard()).toEqual(['m:standby', 'm:ready', 'error']);
  });

  test('of nothing kills the process, as it does the real one', () => {
    const bench = withNodes();
    reopen(bench);
    expect(bench.signal).toBe('SIGABRT');
    expect(bench.printed).toContain('Assertion `bs_queue != NULL');
  });
});
