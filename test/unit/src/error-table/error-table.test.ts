/**
 * The error table of libvirt 9.0's block-job calls, row by row: code, domain and message of each refusal, or why the row
 * cannot be had here. Rows that succeed in libvirt are rows as well.
 */
import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../../src/index.ts';
import { boot, diskXml, domainXml, refusal } from '../lab.ts';
import { ANY } from './any.ts';
import { COMMITS } from './commit.ts';
import { COPIES } from './copy.ts';
import { ENDS } from './end.ts';
import { OUT_OF_REACH } from './out-of-reach.ts';
import { PULLS } from './pull.ts';
import { INVALID } from './row.ts';
import { SIZES } from './size.ts';

describe.each([
  ['every job call', ANY],
  ['pull and rebase', PULLS],
  ['copy', COPIES],
  ['commit', COMMITS],
  ['abort, set-speed, info', ENDS],
  ['resize and threshold', SIZES],
])('%s', (_family, rows) => {
  test.each(rows.map((row) => [`${row.api}: ${row.when}`, row] as const))('%s', async (_name, row) => {
    const lab = await boot({ persistent: row.persistent ?? false });
    await row.given?.(lab);
    const xml = await lab.domain.getXMLDesc().catch(() => undefined);
    expect(await refusal(row.call(lab))).toEqual(row.gives);
    // A refusal leaves the domain as it was; a failure after the fact (9) does not.
    const refused = row.gives && row.gives[0] !== ErrorCode.OPERATION_FAILED;
    if (refused && xml && lab.domain.isActive()) expect(await lab.domain.getXMLDesc()).toBe(xml);
  });
});

test.each(OUT_OF_REACH)('%s: %s is out of reach', (_api, _when, why) => {
  expect(why).not.toBe('');
});

test('a name of two disks is none for a resize, and the first of them for a job', async () => {
  const disks = `${diskXml('vda', '/img/other')}${diskXml('vdb', '/img/other')}`;
  const { domain, machine } = await boot({ disks });
  expect(domainXml(disks)).toContain('vdb');
  expect(await refusal(domain.blockResize('/img/other', 1))).toEqual([
    8,
    10,
    `${INVALID}disk '/img/other' was not found in the domain config`,
  ]);
  await domain.blockPull('/img/other');
  expect(machine.calls.at(-1)?.argument).toMatchObject({ disk: 'vda' });
});
