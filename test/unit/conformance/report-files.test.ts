import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseStringPromise } from 'xml2js';
import { readReport, writeReportFiles } from '../../../conformance/report/files.ts';
import { annotations, stepSummary } from '../../../conformance/report/github.ts';
import { htmlReport } from '../../../conformance/report/html.ts';
import { junitXml } from '../../../conformance/report/junit.ts';
import { bytesText, dirtyPlot } from '../../../conformance/report/plot.ts';
import { HOSTILE, sampleReport } from './sample-report.ts';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mockvirt-test-'));
});
afterAll(() => rm(directory, { recursive: true }));

test('three files are written, and the report can be read back', async () => {
  await writeReportFiles(directory, sampleReport);
  const plain = JSON.parse(JSON.stringify(sampleReport));
  expect(await readReport(directory)).toEqual(plain);
  expect(await readReport(join(directory, 'report.json'))).toEqual(plain);
  expect(await readFile(join(directory, 'index.html'), 'utf8')).toBe(htmlReport(sampleReport));
  await expect(readReport(join(directory, 'junit.xml'))).rejects.toThrow();
});

test('junit.xml is XML whatever a backend says, with a suite per target', async () => {
  const { testsuites } = await parseStringPromise(junitXml(sampleReport));
  const suites = testsuites.testsuite.map((suite: { $: Record<string, string> }) => suite.$);
  expect(suites).toMatchObject([
    { name: 'sim', tests: '2', failures: '1', skipped: '1' },
    { name: 'qemu-7.2', tests: '2', failures: '0', skipped: '1' },
    { name: 'canaries', tests: '2', failures: '1' },
    { name: 'baseline', tests: '1', failures: '1' },
  ]);
  const [failure] = testsuites.testsuite[0].testcase[0].failure;
  expect(failure._).toContain('replay: npx mockvirt');
  expect(failure._).toContain('onerror=');
});

describe('the page', () => {
  const html = htmlReport(sampleReport);

  test('has nothing of the outside as markup, and asks for nothing', () => {
    expect(html).not.toContain('<img');
    expect(html).not.toContain('<script');
    expect(html).not.toMatch(/<\w[^<>]*\b(?:src|href)=["'](?!#)/i);
    expect(html).toContain('&lt;img src=x onerror=&quot;');
    expect(html).toContain("default-src 'none'");
  });

  test('shows the counterexample, the replay line, the timeline and the plot', () => {
    expect(html).toContain('--seed 5 --path 0:1</pre>');
    expect(html).toContain('first difference');
    expect(html).toContain('The first difference is message 3.');
    expect(html).toContain('<svg');
  });
});

test('a plot has a curve per side, and does not mind one without samples', () => {
  const plot = dirtyPlot(
    [
      [],
      [
        [0, 1024],
        [5, 0],
      ],
    ],
    'T',
  );
  expect(plot).toContain('1 KiB');
  expect(plot.match(/<path class="curve/g)).toHaveLength(1);
  expect(dirtyPlot([], 'T')).toContain('</svg>');
  expect([bytesText(0), bytesText(512), bytesText(1536), bytesText(2 ** 40)]).toEqual([
    '0 B',
    '512 B',
    '1.5 KiB',
    '1 TiB',
  ]);
});

describe('GitHub', () => {
  test('gets one line an annotation', () => {
    const lines = annotations(sampleReport).trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^::error title=api\/fails on sim::It is kept .*%0Areplay: npx/);
    expect(lines[1]).toContain('canary escaped escaped');
    expect(lines[2]).toContain('title=baseline');
  });

  test('gets a page in which the outside is text', () => {
    const page = stepSummary(sampleReport);
    expect(page).toContain('| `api/fails` | ❌ | ✅ |');
    expect(page).toContain('| `qmp/known` | ⚠️ | ⚪ |');
    expect(page).not.toContain(HOSTILE);
    expect(page).not.toContain('<img');
  });
});
