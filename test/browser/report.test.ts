/** The page of a report in a real browser. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { htmlReport } from '../../conformance/report/html.ts';
import { sampleReport } from '../unit/conformance/sample-report.ts';
import { openBrowser } from './browser.ts';

let directory = '';
let context: BrowserContext;
let page: Page;
const complaints: string[] = [];
const requests: string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-browser-'));
  const file = join(directory, 'index.html');
  writeFileSync(file, htmlReport(sampleReport));
  context = await openBrowser(join(directory, 'profile'));
  page = await context.newPage();
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(file).href);
});

afterAll(async () => {
  await context.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('index.html', () => {
  test('loads nothing besides itself and has nothing to complain about', () => {
    expect(requests).toHaveLength(1);
    expect(complaints).toEqual([]);
  });

  test('shows text from outside as text', async () => {
    expect(await page.locator('img, script').count()).toBe(0);
    expect(await page.title()).toBe('Conformance: 1 failed');
    expect(await page.locator('.failure pre').first().textContent()).toContain('<img src=x onerror=');
  });

  test('shows the matrix, one line a contract and one column a target', async () => {
    expect(await page.locator('.matrix thead th').allTextContents()).toEqual(['contract', 'sim', 'qemu-7.2']);
    expect(await page.locator('.matrix td.cell .pill').allTextContents()).toEqual([
      'fail',
      'pass',
      'known',
      'skip',
    ]);
  });

  test('leads from the matrix to the failure, with its replay line', async () => {
    const link = await page.locator('.matrix a').first().getAttribute('href');
    await page.locator('.matrix a').first().click();
    expect(new URL(page.url()).hash).toBe(link);
    const card = page.locator(link ?? '');
    expect(await card.locator('.replay').textContent()).toContain('--path 0:1');
  });

  test('marks one first difference, and both sides stand on its row', async () => {
    expect(await page.locator('.timeline .mark').count()).toBe(1);
    const row = page.locator('.timeline tr.differs');
    expect(await row.locator('td b').allTextContents()).toEqual(['error', 'STOP']);
    expect(await row.isVisible()).toBe(true);
  });

  test('draws copies', async () => {
    const box = await page.locator('.plots svg path.curve').first().boundingBox();
    expect(box?.width).toBeGreaterThan(50);
  });

  test('shows failed contracts only where asked', async () => {
    expect(await page.locator('.matrix tbody tr:visible:not(.group)').count()).toBe(2);
    await page.locator('label[for=only-skip]').click();
    expect(await page.locator('.matrix tbody tr:visible:not(.group)').count()).toBe(1);
    await page.locator('label[for=only-all]').click();
  });

  test.each(['light', 'dark'] as const)('is readable in %s, and fits a phone', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 390, height: 800 });
    // As a string, because the types of a browser are not those of Node.
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
    const [ink, paper] = (await page.evaluate(
      '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
    )) as [string, string];
    expect(Math.abs(lightness(ink) - lightness(paper))).toBeGreaterThan(150);
  });
});

function lightness(color: string): number {
  const channels = [...color.matchAll(/\d+/g)].slice(0, 3).map(Number);
  return channels.reduce((sum, channel) => sum + channel, 0) / 3;
}
