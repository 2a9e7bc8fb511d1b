/** Reads a file as text and says which rules of the architecture it breaks. */
import { dirname, join, normalize } from 'node:path';
import { BANS, LET_OFF, MAX_FUNCTION_LINES, NODE, ROOMS } from './rules.ts';

/** What follows the name keeps the words of an error message from being taken for an import. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)'([^']+)'(?=\s*[;),])/g;

/** Every broken rule of one file, a line each. */
export function violations(path: string, text: string): string[] {
  const code = withoutComments(text);
  return [...importViolations(path, code), ...banViolations(path, code)];
}

function importViolations(path: string, code: string): string[] {
  const rule = ROOMS.find(({ room }) => room.test(path));
  if (!rule) return [`${path}: belongs to no room of the table`];
  const group = rule.room.exec(path)?.[1] ?? '';
  const may = rule.may.map((prefix) => prefix.replace('$1', group));
  return [...code.matchAll(IMPORT)]
    .map(([, specifier = '']) => target(path, specifier))
    .filter((imported) => !may.some((prefix) => allows(prefix, imported)))
    .map((imported) => `${path}: may not import ${imported}`);
}

/** Relative specifiers become paths from the root; packages keep their name. */
function target(path: string, specifier: string): string {
  if (specifier.startsWith('.')) return normalize(join(dirname(path), specifier));
  return specifier;
}

function allows(prefix: string, imported: string): boolean {
  if (prefix === NODE || prefix.endsWith('/')) return imported.startsWith(prefix);
  return imported === prefix || (!prefix.endsWith('.ts') && imported.startsWith(`${prefix}/`));
}

function banViolations(path: string, code: string): string[] {
  const words = withoutStrings(code);
  return BANS.filter(({ room, except }) => room.test(path) && !except?.test(path)).flatMap(
    ({ word, why }) => {
      const found = word.exec(word.source.includes('redhat') ? code : words)?.[0];
      const letOff = found && LET_OFF.some((pass) => pass.file === path && pass.word.test(found));
      return found && !letOff ? [`${path}: ${found}: ${why}`] : [];
    },
  );
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/[^\n]*/g, '$1');
}

function withoutStrings(code: string): string {
  return code.replace(/'(?:[^'\\\n]|\\.)*'/g, "''");
}

const FUNCTION_START =
  /^(\s*)(?:export )?(?:default )?(?:(?:async )?function\b|(?:const|let) [\w$]+(?::[^=]+)? = (?:async )?(?:<[^>]*>)?\(|(?:static |async |\*|get |set |readonly )*#?[\w$]+(?:<[^>]*>)?\(.*\)?.*\{$)/;

/** Functions and methods of more lines than fit a screen; reads the formatter's layout, where a body ends at its own indent. */
export function longFunctions(path: string, text: string): string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, start) => {
    const indent = FUNCTION_START.exec(line)?.[1];
    if (indent === undefined || /^\s*(?:if|for|while|switch|return|catch)\b/.test(line)) return [];
    if (!hasBlockBody(lines, start, indent)) return [];
    const end = lines.findIndex((candidate, at) => at > start && isEnd(candidate, indent));
    const length = end - start + 1;
    return length > MAX_FUNCTION_LINES ? [`${path}:${start + 1}: ${length} lines`] : [];
  });
}

/** An arrow function whose body is an expression has no end of its own to look for. */
function hasBlockBody(lines: readonly string[], start: number, indent: string): boolean {
  const head = lines[start] ?? '';
  if (!head.endsWith('(')) return head.endsWith('{');
  return lines.find((line, at) => at > start && line.startsWith(`${indent})`))?.endsWith('{') ?? false;
}

function isEnd(line: string, indent: string): boolean {
  return line.startsWith(`${indent}}`) && !/^\s*\}(?:: | \{)/.test(line) && !line.startsWith(`${indent}}: {`);
}

const EXPORT = /^export (?:abstract |async )*(?:const|function\*?|class|interface|type) (?![{*])/;

/** Exports without a docstring; a contract's title and source are its own. */
export function undocumented(path: string, text: string): string[] {
  if (path.startsWith('conformance/contracts/')) return [];
  const lines = text.split('\n');
  return lines.flatMap((line, at) =>
    EXPORT.test(line) && !lines[at - 1]?.trimEnd().endsWith('*/') ? [`${path}:${at + 1}: ${line}`] : [],
  );
}
