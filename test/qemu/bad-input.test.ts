import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ErrorCode, open } from '../../entry/index.ts';
import { describeBadInput } from '../bad-input.ts';

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'mockvirt-bad-'));
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('bad input on a real QEMU', () => {
  describeBadInput(
    async () => {
      const directory = mkdtempSync(join(root, 'case-'));
      return { connection: await open(`qemu:///embed?root=${directory}/run`), directory };
    },
    async ({ directory }) => readdirSync(directory),
  );
});

describe('an emulator that is none', () => {
  const rows: readonly [string, string | undefined, number, RegExp][] = [
    [
      'is not there',
      undefined,
      ErrorCode.SYSTEM_ERROR,
      /Cannot check QEMU binary .*No such file or directory.*apt-get install/,
    ],
    [
      'ends at once',
      '#!/bin/sh\necho "this is no emulator" >&2\nexit 3\n',
      ErrorCode.INTERNAL_ERROR,
      /this is no emulator/,
    ],
    ['cannot be executed', 'text', ErrorCode.SYSTEM_ERROR, /not executable|Permission denied|Exec format/],
  ];
  test.each(rows)('%s', async (what, script, code, message) => {
    const emulator = join(root, `emulator-${what.replaceAll(' ', '-')}`);
    if (script !== undefined) writeFileSync(emulator, script);
    if (script?.startsWith('#!')) chmodSync(emulator, 0o755);
    const run = mkdtempSync(join(root, 'run-'));
    const connection = await open(`qemu:///embed?root=${run}&emulator=${emulator}`);
    // The connection keeps its state below the root; the emulator that is none may leave nothing more.
    const before = readdirSync(run, { recursive: true });
    const error: unknown = await connection.volumes
      .create({ path: join(root, 'x.qcow2'), format: 'qcow2', capacityBytes: 1_048_576 })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code, outcome: 'none', message: expect.stringMatching(message) });
    expect(readdirSync(run, { recursive: true })).toEqual(before);
    await connection.close();
  });
});
