/** What the contracts about commands are written in: rows, and what queries show of a node. */
import { type Contract, example } from '../../contract.ts';
import { expect } from '../../expect.ts';
import { Bench } from '../../qmp/bench.ts';
import type { Capability, QmpOptions } from '../../target.ts';
import { isObjectList, type WireMessage } from '../../wire.ts';

/** One command, or a few that only make sense together. */
export interface CommandRow {
  readonly id: string;
  readonly title: string;
  readonly source?: string;
  readonly needs?: readonly Capability[];
  /** The server, where it is to be more than one with nothing in it. */
  readonly machine?: QmpOptions;
  check(bench: Bench): Promise<void>;
}

/** A node as query-named-block-nodes shows it. */
export async function node({ monitor }: Bench, name: string): Promise<WireMessage> {
  const found = (await monitor.list('query-named-block-nodes')).find((each) => each['node-name'] === name);
  expect(found, `query-named-block-nodes does not show the node ${name}`);
  return found;
}

/** `name: recorded bytes`, with `off` behind those that do not record. */
export async function bitmaps(bench: Bench, name = 'disk'): Promise<string[]> {
  const list = (await node(bench, name))['dirty-bitmaps'] ?? [];
  expect(isObjectList(list), 'dirty-bitmaps is not a list of objects');
  return list.map((each) => `${each.name}: ${each.count}${each.recording ? '' : ' off'}`).sort();
}

/** The contract of a row: `qmp/command/ID`. */
export const commandContract = ({
  id,
  title,
  source = '',
  needs = [],
  machine,
  check,
}: CommandRow): Contract =>
  example({
    id: `qmp/command/${id}`,
    title,
    source,
    needs: ['qmp', ...(machine ? (['qmpDisks'] as const) : []), ...needs],
    async check(world) {
      await check(await (machine ? Bench.on(world, machine) : Bench.empty(world)));
    },
  });
