import { describe, expect, test } from 'vitest';
import { canaries, contracts, type Report, runConformance, type Target } from '../../../conformance/index.ts';
import { simTarget } from '../../../entry/targets/sim.ts';
import { simTargetInThreads } from '../../../entry/targets/sim-threads.ts';
import { tapHost } from '../../../entry/targets/wire.ts';
import type { Duplex } from '../../../src/qmp/duplex.ts';

/**
 * A few contracts from all over the suite are enough: which ones they are changes with it, and what can differ between
 * threads or runs is the machinery, not the contract.
 */
const FEW = 60;
const few = contracts.filter((_, row) => row % Math.ceil(contracts.length / FEW) === 0);
const fewCanaries = canaries.filter(({ contract }) => few.some(({ id }) => id === contract));

/** A report without what the clock decides. */
function timeless({ contracts: lines, canaries: planted }: Report) {
  return {
    planted,
    lines: lines.map(({ id, results }) => [
      id,
      Object.values(results).map((result) => ({ ...result, ms: 0 })),
    ]),
  };
}

async function traceOf(seed: number): Promise<string> {
  const traces: string[] = [];
  await runConformance({
    targets: [simTarget()],
    contracts: few,
    canaries: [],
    seed,
    runs: 2,
    onTrace: (text) => void traces.push(text),
  });
  return traces.join('\n');
}

describe('the simulated target', () => {
  test('repeats its trace to the byte with one seed, and not with another', { timeout: 60_000 }, async () => {
    const first = await traceOf(5);
    expect(first.length).toBeGreaterThan(10_000);
    expect(await traceOf(5)).toBe(first);
    expect(await traceOf(6)).not.toBe(first);
  });

  test('gives the same verdicts in threads as here', { timeout: 60_000 }, async () => {
    const run = async (target: Target) =>
      timeless(
        await runConformance({ targets: [target], contracts: few, canaries: fewCanaries, seed: 3, runs: 2 }),
      );
    expect(await run(simTargetInThreads())).toEqual(await run(simTarget()));
  });
});

test('a tap passes on byte for byte what it does not change, however it is cut, and writes it down', async () => {
  const written: string[] = [];
  const lines: string[] = [];
  let deliver: (bytes: Uint8Array) => void = () => {};
  const inner: Duplex = {
    write: (bytes) => void written.push(new TextDecoder().decode(bytes)),
    onData: (listener) => {
      deliver = listener;
    },
    onClose: () => {},
    close: () => {},
  };
  const host = tapHost(
    {
      timers: { now: () => 1.5, after: () => () => {} },
      files: { stat: async () => undefined, createEmpty: async () => {}, remove: async () => {} },
      launch: async () => ({
        connect: async () => inner,
        exited: new Promise(() => {}),
        output: () => '',
        terminate: async () => {},
      }),
      close: async () => {},
    },
    {
      mutation: () => ({
        toQemu: (message, port) =>
          message.execute === 'answered' ? port.back({ return: 'here' }) : port.forward(message),
        fromQemu: (message, port) => message.event !== 'DROPPED' && port.forward(message),
      }),
      onLine: (line) => void lines.push(line),
    },
  );
  const duplex = await (await host.launch(undefined, [])).connect();
  const heard: string[] = [];
  duplex.onData((bytes) => void heard.push(new TextDecoder().decode(bytes)));

  const bytes = (text: string) => new TextEncoder().encode(text);
  duplex.write(bytes('{"execute":"a","speed":9223372036854775807}\r\n{"exec'));
  duplex.write(bytes('ute":"answered"}\r\n'));
  expect(written).toEqual(['{"execute":"a","speed":9223372036854775807}\r\n']);
  expect(heard).toEqual([]);
  await Promise.resolve();
  deliver(bytes('{"event": "DROPPED"}\r\n{"event": "ä"}\r\n').slice(0, 33));
  deliver(bytes('{"event": "DROPPED"}\r\n{"event": "ä"}\r\n').slice(33));
  expect(heard).toEqual(['{"return":"here"}\r\n', '{"event": "ä"}\r\n']);
  expect(lines).toEqual([
    '1.500 1 > {"execute":"a","speed":9223372036854775807}',
    '1.500 1 < {"return":"here"}',
    '1.500 1 < {"event": "ä"}',
  ]);
});
