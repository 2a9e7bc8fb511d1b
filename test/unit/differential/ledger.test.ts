import { describe, expect, test } from 'vitest';
import { diverges } from '../../differential/compare.ts';
import { entryFor, readLedger } from '../../differential/ledger.ts';
import type { Script, Step } from '../../differential/script.ts';
import type { Transcript } from '../../differential/transcript.ts';

const REST = ['{"return":[]}', '{"return":[]}'];
const DIED = '{"died":"SIGSEGV"}';
const merge = (bitmaps: readonly string[]): Step => ({
  execute: 'block-dirty-bitmap-merge',
  arguments: { node: 'top', target: 'b1', bitmaps },
});

const script = (...steps: readonly Step[]): Script => ({ world: 'nodes', steps });

/** A transcript in which the real one dies at a step, from 0; undefined: it lives. */
function transcript({ steps }: Script, diesAt?: number): Transcript {
  const lives = (index: number) => diesAt === undefined || index < diesAt;
  return {
    steps: steps.map((_, index) => ({
      heard: lives(index) ? ['{"return":{}}'] : [],
      jobs: lives(index) ? REST : [],
    })),
    graph: diesAt === undefined ? ['{"return":[]}', '{"return":[]}', '{"return":{}}'] : [],
    end: diesAt === undefined ? ['{"return":{}}'] : [DIED],
    stdout: '',
    files: [],
  };
}

const entryOf = (run: Script, diesAt?: number, before?: string): string | undefined => {
  const real = transcript(run, diesAt);
  const other = transcript(run);
  const simulated =
    before === undefined
      ? other
      : { ...other, steps: [{ heard: [before], jobs: REST }, ...other.steps.slice(1)] };
  const divergence = diverges(run, 'qemu-7.2', real, simulated);
  return divergence && entryFor(readLedger(), divergence)?.name;
};

describe('the ledger', () => {
  test('is short, and says why', () => {
    expect(readLedger().length).toBeLessThan(10);
    for (const { reason, killer, script: pattern, real } of readLedger()) {
      expect(reason.length).toBeGreaterThan(20);
      expect(killer ?? pattern ?? real).toBeDefined();
    }
  });

  test('knows a crash by the command that causes it', () => {
    const run = script({ execute: 'query-status' }, merge([]));
    expect(entryOf(run, 1)).toBe('a merge of no bitmaps');
  });

  test('does not know another crash', () => {
    expect(entryOf(script({ execute: 'query-status' }, merge(['b2'])), 1)).toBeUndefined();
    expect(entryOf(script(merge([]), { execute: 'query-status' }), 1)).toBeUndefined();
  });

  test('does not excuse what differs before the crash', () => {
    const run = script({ execute: 'query-status' }, merge([]));
    expect(entryOf(run, 1, '{"return":{"other":1}}')).toBeUndefined();
  });

  test('knows the crash of a query at the end', () => {
    const run = script({ execute: 'block-stream', arguments: { device: 'top', 'auto-dismiss': false } });
    const real = { ...transcript(run), graph: ['{}', '{}', '{}'], end: [DIED] };
    const divergence = diverges(run, 'qemu-7.2', real, transcript(run));
    expect(divergence && entryFor(readLedger(), divergence)?.name).toBe(
      'nodes are listed under a stream that has concluded',
    );
  });

  const addRaw = {
    execute: 'blockdev-add',
    arguments: { driver: 'raw', 'node-name': 'n1', file: { driver: 'file', filename: '/D/copy.qcow2' } },
  };

  /** The entry under which a difference of something other than a reply falls. */
  function nameOf(
    run: Script,
    real: Partial<Transcript>,
    simulated: Partial<Transcript>,
  ): string | undefined {
    const same = transcript(run);
    const divergence = diverges(run, 'qemu-7.2', { ...same, ...real }, { ...same, ...simulated });
    return divergence && entryFor(readLedger(), divergence)?.name;
  }

  test('knows a copy of a qcow2 file seen raw by its node, in files alone', () => {
    const copyOf = (device: string) =>
      script(addRaw, { execute: 'drive-mirror', arguments: { 'job-id': 'j1', device } });
    const files = (text: string) => ({ files: [{ name: 'new1.qcow2', text }] });
    const byFile = (device: string) => nameOf(copyOf(device), files('a'), files('b'));
    expect(byFile('n1')).toBe('a copy of a qcow2 file that is seen raw');
    expect(byFile('top')).toBeUndefined();
    expect(nameOf(copyOf('n1'), { graph: ['a'] }, { graph: ['b'] })).toBeUndefined();
  });

  test('knows reads of a qcow2 file seen raw by the pattern that is not found', () => {
    const read = (node: string, what: string) =>
      script(addRaw, {
        execute: 'human-monitor-command',
        arguments: { 'command-line': `qemu-io ${node} "${what} 0 64k"` },
      });
    const failed = { stdout: 'Pattern verification failed at offset 0, 65536 bytes\nread 65536/65536' };
    const passed = { stdout: 'read 65536/65536' };
    const name = 'reads of a qcow2 file that is seen raw';
    expect(nameOf(read('n1', 'read -P 0'), failed, passed)).toBe(name);
    expect(nameOf(read('top-file', 'read -P 0'), failed, passed)).toBe(name);
    expect(nameOf(read('top', 'read -P 0'), failed, passed)).toBeUndefined();
    expect(nameOf(read('n1', 'read -P 0'), passed, failed)).toBeUndefined();
  });
});
