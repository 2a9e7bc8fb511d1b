/** Every command that README and docs show. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** One command line, as it is written, and the page it is on. */
export interface Documented {
  readonly page: string;
  readonly line: string;
  /** Shown in a block of its own, to be copied, as opposed to mentioned in a sentence. */
  readonly isBlock: boolean;
}

/** The pages that people read: README, and everything below docs. */
export function pages(): string[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' });
  return ['README.md', ...docs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
}

/** The text of a page. */
export const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

/** The commands of a text: lines of blocks for a shell, and code in sentences that begins with a program of ours. */
export function commandsOf(page: string, text: string): Documented[] {
  const blocks = [...text.matchAll(/^```(?:sh|bash|shell|console)\b.*\n([\s\S]*?)^```/gm)];
  const shown = blocks.flatMap(([, body = '']) => body.split('\n').filter((line) => line.trim() !== ''));
  const mentioned = [...text.matchAll(/`((?:npm|npx|node|mock-qemu|mockvirt) [^`\n]+)`/g)];
  return [
    ...shown.map((line) => ({ page, line: line.replace(/\s+#.*$/, ''), isBlock: true })),
    ...mentioned.map(([, line = '']) => ({ page, line, isBlock: false })),
  ];
}

/** The commands of all pages. */
export const documented = (): Documented[] => pages().flatMap((page) => commandsOf(page, textOf(page)));
