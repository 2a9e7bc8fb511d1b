/** The example page in a real browser: msw's own service worker and `ws.link`, and a simulated QEMU behind them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from './browser.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'examples/browser');
let directory = '';
let server: Server;
let imports: readonly string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-browser-'));
  const bundle = await rolldown({
    input: join(PAGE, 'main.ts'),
    platform: 'browser',
    // The sources are what is tested; the published package has the same behind that name.
    resolve: { alias: { 'mockvirt/browser': join(ROOT, 'entry/browser.ts') } },
    external: /^node:/,
  });
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
  await bundle.close();
  imports = output[0].imports;
  const files: Record<string, readonly [type: string, text: string]> = {
    '/': ['text/html', readFileSync(join(PAGE, 'index.html'), 'utf8')],
    '/main.js': ['text/javascript', output[0].code],
    '/mockServiceWorker.js': [
      'text/javascript',
      readFileSync(join(ROOT, 'node_modules/msw/lib/mockServiceWorker.js'), 'utf8'),
    ],
  };
  server = createServer(({ url = '' }, response) => {
    const [type, text] = files[url] ?? [];
    response.writeHead(text === undefined ? 404 : 200, { 'content-type': type ?? 'text/plain' });
    response.end(text ?? '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

test('nothing of Node is in the page', () => {
  expect(imports).toEqual([]);
});

test('the page copies a disk on a QEMU that msw answers with', async () => {
  const context = await openBrowser(join(directory, 'profile'));
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => complaints.push(message.text()));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForFunction('/^(moved|failed)/.test(document.title)');
    expect(complaints).toEqual([]);
    expect(await page.title()).toBe('moved');
    expect(await page.locator('#steps li').allTextContents()).toEqual(['copying', 'ready', 'moved']);
  } finally {
    await context.close();
  }
});
