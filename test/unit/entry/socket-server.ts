/** A QMP server of a test's own, started by hand, and what the suite says of it. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { contracts, type Report, runConformance } from '../../../conformance/index.ts';
import { socketTarget } from '../../../entry/targets/socket.ts';

const EMPTY = ['-machine', 'none', '-nodefaults', '-display', 'none'];

/** What a run found, and what it left behind. */
export interface Outcome {
  readonly report: Report;
  /** Names in the server's directory afterwards. */
  readonly left: readonly string[];
}

/** Whether there is someone to connect to: a socket is there a moment before anybody listens at it. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
      .once('connect', () => {
        socket.destroy();
        resolve(true);
      })
      .once('error', () => resolve(false));
  });
}

/** Starts a server, runs contracts on it twice over, and ends it. */
export async function runOnServer(
  command: readonly [string, ...string[]],
  chosen: (id: string) => boolean,
): Promise<Outcome> {
  const directory = await mkdtemp(join(tmpdir(), 'mockvirt-test-'));
  const socket = join(directory, 'qmp.sock');
  const [program, ...first] = command;
  const args = [...first, ...EMPTY, '-qmp', `unix:${socket},server=on,wait=off`];
  const child = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    await vi.waitUntil(() => accepts(socket), { timeout: 20_000 });
    const report = await runConformance({
      targets: [socketTarget({ socket })],
      contracts: contracts.filter(({ id }) => chosen(id)),
      canaries: [],
      seed: 1,
      runs: 2,
    });
    return { report, left: await readdir(directory) };
  } finally {
    child.kill();
    await ended;
    await rm(directory, { recursive: true, force: true });
  }
}

/** The contracts with one status, and why. */
export function withStatus({ contracts: lines }: Report, status: string): readonly string[] {
  return lines.flatMap(({ id, results }) =>
    results.qmp?.status === status ? [`${id}: ${results.qmp.reason}`] : [],
  );
}
