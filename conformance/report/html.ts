/** A run as one page that needs nothing besides itself: no script, no file, no network. */

import { escapeXml as esc } from './escape.ts';
import { dirtyPlot, PLOT_WIDTH } from './plot.ts';
import {
  type ContractReport,
  type ContractResult,
  type FailureReport,
  type Report,
  renderDuration,
} from './report.ts';
import { STYLE } from './style.ts';
import { timelineHtml } from './timeline.ts';

/** Whatever gets into the page by mistake can do nothing. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** The text of `index.html`. */
export function htmlReport(report: Report): string {
  const { summary } = report;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>Conformance: ${summary.failed > 0 ? `${summary.failed} failed` : `${summary.passed} passed`}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${[header(report), gate(report), failures(report), matrix(report), copies(report), canaries(report), skips(report)].join('\n')}
</main>
</body>
</html>
`;
}

function header({ contracts, summary }: Report): string {
  const results = contracts.flatMap((line) => Object.values(line.results));
  const cases = results.reduce((sum, { runs }) => sum + runs, 0);
  const { canariesCaught, canariesPlanted } = summary;
  const tiles: readonly (readonly [string, string | number, boolean?])[] = [
    ['passed', summary.passed],
    ['failed', summary.failed, summary.failed > 0],
    ['skipped', summary.skipped],
    [
      'canaries caught',
      canariesPlanted === 0 ? 'none planted' : `${canariesCaught} of ${canariesPlanted}`,
      canariesCaught < canariesPlanted,
    ],
    ['cases', cases.toLocaleString('en')],
    ['time', renderDuration(summary.ms)],
    ['seed', summary.seed],
  ];
  const targets = Object.entries(summary.targets).map(
    ([target, version]) => `<p><code>${esc(target)}</code> <span class="soft">${esc(version)}</span></p>`,
  );
  return `<header>
<div class="head"><h1>Conformance</h1>${pill(summary.ok ? 'pass' : 'fail', summary.ok ? 'passed' : 'failed')}</div>
<dl class="tiles">${tiles.map(tile).join('')}</dl>
${targets.join('\n')}
</header>`;
}

function tile([name, value, isBad]: readonly [string, string | number, boolean?]): string {
  return `<div class="tile${isBad ? ' bad' : ''}"><dt>${esc(name)}</dt><dd>${esc(String(value))}</dd></div>`;
}

function pill(status: string, text: string): string {
  return `<span class="pill ${status}">${esc(text)}</span>`;
}

function gate({ gate: findings = [] }: Report): string {
  if (findings.length === 0) return '';
  const items = findings.map((finding) => `<li>${esc(finding)}</li>`).join('');
  return `<h2>Against the baseline</h2><div class="card failure"><ul class="gate">${items}</ul></div>`;
}

function failures({ contracts }: Report): string {
  const failed = contracts.flatMap((contract) =>
    Object.entries(contract.results).flatMap(([target, result]) =>
      result.status === 'fail' ? [{ contract, target, result }] : [],
    ),
  );
  if (failed.length === 0) return '';
  const links = failed.map(
    ({ contract: { id }, target }) =>
      `<li><a href="#${anchor(id, target)}"><code>${esc(id)}</code></a> on <code>${esc(target)}</code></li>`,
  );
  const overview = failed.length > 1 ? `<ul class="overview">${links.join('')}</ul>` : '';
  const cards = failed.map(({ contract, target, result }) => failureCard(contract, target, result));
  return `<h2>Failures</h2>${overview}${cards.join('\n')}`;
}

/** Where a failure is on the page. */
const anchor = (id: string, target: string): string =>
  `failure-${`${id}-${target}`.replace(/[^\w.-]+/g, '-')}`;

function failureCard({ id, title, source }: ContractReport, target: string, result: ContractResult): string {
  const { failure, reason = '', deviation } = result;
  const status = deviation === undefined ? pill('fail', 'fail') : pill('known', 'known');
  return `<article class="card failure" id="${anchor(id, target)}">
<h3>${esc(title)}</h3>
<p>${status} <code>${esc(id)}</code> on <code>${esc(target)}</code> <span class="soft">· ${esc(source)}</span></p>
${deviation === undefined ? '' : `<p class="soft">${esc(deviation)}</p>`}
<h4>What broke</h4><pre>${esc(failure?.message ?? reason)}</pre>
${failure ? failureParts(failure) : ''}
</article>`;
}

function failureParts({ counterexample, replay, timeline }: FailureReport): string {
  return [
    counterexample === undefined ? '' : `<h4>Counterexample</h4><pre>${esc(counterexample)}</pre>`,
    replay === undefined ? '' : `<h4>Replay</h4><pre class="replay">${esc(replay)}</pre>`,
    timeline === undefined ? '' : timelineHtml(timeline),
  ].join('\n');
}

function matrix({ contracts, summary }: Report): string {
  const targets = Object.keys(summary.targets);
  const groups = Map.groupBy(contracts, ({ id }) => id.split('/')[0] ?? '');
  const body = [...groups].map(([family, lines]) => {
    const head = `<tr class="group"><th colspan="${targets.length + 1}">${esc(family)}/ · ${lines.length}</th></tr>`;
    return head + lines.map((line) => matrixRow(line, targets)).join('');
  });
  const filters = [
    ['all', 'All'],
    ['fail', 'Failed'],
    ['skip', 'Skipped'],
  ].map(
    ([name, label], index) =>
      `<input type="radio" name="only" id="only-${name}"${index === 0 ? ' checked' : ''}><label for="only-${name}">${label}</label>`,
  );
  const head = targets.map((target) => `<th>${esc(target)}</th>`).join('');
  return `<h2>Contracts</h2>
<div class="filter">${filters.join('')}</div>
<div class="card"><table class="matrix"><thead><tr><th>contract</th>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`;
}

function matrixRow({ id, title, source, results }: ContractReport, targets: readonly string[]): string {
  const statuses = new Set(Object.values(results).map(({ status }) => `has-${status}`));
  const cells = targets.map((target) => `<td class="cell">${cell(id, target, results[target])}</td>`);
  const what = `<td class="what" title="${esc(source)}"><code>${esc(id)}</code><p>${esc(title)}</p></td>`;
  return `<tr class="${[...statuses].join(' ')}">${what}${cells.join('')}</tr>`;
}

function cell(id: string, target: string, result: ContractResult | undefined): string {
  if (!result) return '<span class="soft">–</span>';
  const { status, runs, ms, deviation, reason = '' } = result;
  if (status === 'skip') return `<span title="${esc(reason)}">${pill('skip', 'skip')}</span>`;
  const spent = `<small>${runs.toLocaleString('en')} in ${renderDuration(ms)}</small>`;
  if (status === 'pass') return pill('pass', 'pass') + spent;
  const word = deviation === undefined ? pill('fail', 'fail') : pill('known', 'known');
  return `<a href="#${anchor(id, target)}">${word}</a>${spent}`;
}

function copies({ copies: seen = [] }: Report): string {
  if (seen.length === 0) return '';
  const cards = seen.map(({ contract, target, dirty }) => {
    const title = `Dirty bytes over time: ${contract} on ${target}`;
    const words = `<p><code>${esc(contract)}</code> <span class="soft">on ${esc(target)}</span></p>`;
    return `<figure class="card">${words}${dirtyPlot([dirty], title, PLOT_WIDTH.small)}</figure>`;
  });
  return `<h2>Copies</h2><p class="soft">Dirty bytes over time, one case of each of these contracts.</p><div class="plots">${cards.join('')}</div>`;
}

function canaries({ canaries: planted }: Report): string {
  if (planted.length === 0) return '';
  const escaped = planted.filter(({ caught }) => !caught);
  const items = [...escaped, ...planted.filter(({ caught }) => caught)].map(({ id, contract, caught }) => {
    const status = caught ? 'pass' : 'fail';
    const text = caught ? id : `${id} escaped ${contract}`;
    return `<li title="${esc(`caught by ${contract}: ${caught}`)}">${pill(status, text)}</li>`;
  });
  const sum = `${planted.length - escaped.length} of ${planted.length} backends that were broken on purpose were caught.`;
  return `<h2>Canaries</h2><p class="soft">${sum}</p><ul class="canaries">${items.join('')}</ul>`;
}

function skips({ contracts }: Report): string {
  const reasons = contracts.flatMap(({ results }) =>
    Object.entries(results).flatMap(([target, { status, reason = '' }]) =>
      status === 'skip' ? [`${target}: ${reason}`] : [],
    ),
  );
  if (reasons.length === 0) return '';
  const counted = [...Map.groupBy(reasons, (reason) => reason)];
  const items = counted.map(([reason, all]) => `<li>${all.length} on ${esc(reason)}</li>`);
  return `<h2>Skipped</h2><ul>${items.join('')}</ul>`;
}
