/** The core as it is, in a real browser: bundled without any module of Node's, and asked over its own QMP. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from './browser.ts';

const ROOT = join(import.meta.dirname, '../..');
let directory = '';
let code = '';
let imports: readonly string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mockvirt-browser-'));
  const bundle = await rolldown({
    input: join(ROOT, 'entry/browser.ts'),
    platform: 'browser',
    external: /^node:/,
  });
  const { output } = await bundle.generate({ format: 'iife', name: 'mockvirt', codeSplitting: false });
  await bundle.close();
  [code, imports] = [output[0].code, output[0].imports];
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('nothing of Node is in its import graph', () => {
  expect(imports).toEqual([]);
  expect(code).not.toMatch(/\b(?:require|import)\(/);
});

/** What a page does: a socket as msw hands it out, and two commands. */
const PAGE_SCRIPT = `
  const world = mockvirt.createWorld({ seed: 1 });
  const listeners = {};
  const answered = new Promise((resolve) => {
    let text = '';
    const client = {
      send: (data) => { text += data; if (text.includes('prelaunch')) resolve(text); },
      close: () => {},
      addEventListener: (type, listener) => { listeners[type] = listener; },
    };
    mockvirt.answerQmp(world.boot({ profile: mockvirt.DEFAULT_PROFILE, argv: ['-S'] }))({ client });
  });
  listeners.message({ data: '{"execute":"qmp_capabilities"}{"execute":"query-status"}' });
  const hour = new Promise((resolve) => world.timers.after(3600000, () => resolve(world.timers.now())));
  window.result = Promise.all([answered, hour]).then(([text, now]) => ({ text, now }));
`;

test('it answers in Chromium, in virtual time', async () => {
  const file = join(directory, 'page.html');
  writeFileSync(join(directory, 'core.js'), code);
  writeFileSync(
    file,
    `<!doctype html><meta charset="utf-8"><script src="core.js"></script><script>${PAGE_SCRIPT}</script>`,
  );
  const context = await openBrowser(join(directory, 'profile'));
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(pathToFileURL(file).href);
    const { text, now } = (await page.evaluate('window.result')) as { text: string; now: number };
    expect(complaints).toEqual([]);
    expect(text).toContain('"QMP"');
    expect(now).toBeGreaterThanOrEqual(3_600_000);
  } finally {
    await context.close();
  }
});
