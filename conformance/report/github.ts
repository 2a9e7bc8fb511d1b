/** A run as GitHub Actions shows it: annotations on standard output, and a page in Markdown. */

import { escapeXml } from './escape.ts';
import type { Report } from './report.ts';
import { renderDuration } from './report.ts';

/** One `::error` line for each thing that makes the run fail. */
export function annotations(report: Report): string {
  const failures = report.contracts.flatMap(({ id, title, results }) =>
    Object.entries(results).flatMap(([target, { status, failure, reason = '', deviation }]) => {
      if (status !== 'fail' || deviation !== undefined) return [];
      const replay = failure?.replay === undefined ? '' : `\nreplay: ${failure.replay}`;
      return [annotation('error', `${id} on ${target}`, `${title}\n${failure?.message ?? reason}${replay}`)];
    }),
  );
  const escaped = report.canaries
    .filter(({ caught }) => !caught)
    .map(({ id, contract }) => annotation('error', `canary ${id} escaped`, `${contract} did not fail`));
  const gate = (report.gate ?? []).map((finding) => annotation('error', 'baseline', finding));
  return [...failures, ...escaped, ...gate].map((line) => `${line}\n`).join('');
}

function annotation(level: string, title: string, text: string): string {
  return `::${level} title=${property(title)}::${data(text)}`;
}

/** The runner reads these characters as its own. */
const data = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const property = (text: string): string => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');

const MARKS = { pass: '✅', fail: '❌', skip: '⚪' } as const;

/** What is added to the file that GITHUB_STEP_SUMMARY names. */
export function stepSummary(report: Report): string {
  const { summary, contracts, gate = [] } = report;
  const targets = Object.keys(summary.targets);
  const rows = contracts.map(({ id, results }) => {
    const cells = targets.map((target) => {
      const result = results[target];
      if (!result) return '';
      return result.deviation === undefined ? MARKS[result.status] : '⚠️';
    });
    return row([code(id), ...cells]);
  });
  const failures = contracts.flatMap(({ id, results }) =>
    Object.entries(results).flatMap(([target, { status, failure, deviation }]) =>
      status === 'fail' && deviation === undefined
        ? [
            `- ${code(id)} on ${code(target)}: ${escapeMarkdown(failure?.message ?? '')}`,
            `  ${code(failure?.replay ?? '')}`,
          ]
        : [],
    ),
  );
  return [
    `## ${summary.ok ? '✅' : '❌'} Conformance`,
    '',
    `${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped in ${renderDuration(summary.ms)}; ` +
      `${summary.canariesCaught} of ${summary.canariesPlanted} canaries caught; seed ${summary.seed}`,
    '',
    ...failures,
    ...gate.map((finding) => `- baseline: ${escapeMarkdown(finding)}`),
    ...(failures.length + gate.length > 0 ? [''] : []),
    row(['contract', ...targets.map(escapeMarkdown)]),
    row(['---', ...targets.map(() => ':-:')]),
    ...rows,
    '',
    '',
  ].join('\n');
}

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const code = (text: string): string =>
  `\`${text.replaceAll('`', "'").replaceAll('|', '\\|').replaceAll('\n', ' ')}\``;
const escapeMarkdown = (text: string): string =>
  escapeXml(text)
    .replace(/[\\`*_{}[\]()|]/g, (character) => `\\${character}`)
    .replaceAll('\n', ' ');
