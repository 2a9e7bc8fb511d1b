/** The timeline of a failed case as HTML. */

import type { Timeline, TimelineEntry, TimelineRow } from '../timeline.ts';
import { escapeXml } from './escape.ts';
import { dirtyPlot } from './plot.ts';

/** Equal rows that are shown before the first difference; the ones before them are folded. */
const ROWS_BEFORE = 6;
/** Rows that are shown from the first difference on. */
const ROWS_AFTER = 60;
/** What one cell shows before it is cut; all of it is in its tooltip and in report.json. */
const CELL_CHARS = 260;

const LEGEND = `<p class="legend">${['command', 'reply', 'event', 'error']
  .map((kind) => `<span class="${kind}"><i></i>${kind}</span>`)
  .join('')}</p>`;

/** The table of both sides with the first difference marked, and the plot of their copies. */
export function timelineHtml(timeline: Timeline): string {
  const { rows, firstDifference, sides } = timeline;
  if (rows.length === 0) return '<p class="soft">Nothing crossed the wire.</p>';
  const from = Math.max(0, (firstDifference ?? 0) - ROWS_BEFORE);
  const to = from + ROWS_BEFORE + ROWS_AFTER;
  const table = (first: number, last: number) => tableOf(timeline, first, last);
  const summary =
    sides.length < 2
      ? 'No target passed this case, so there is nothing to compare with.'
      : firstDifference === undefined
        ? 'Both sides exchanged the same messages.'
        : `The first difference is message ${firstDifference + 1}.`;
  return [
    `<h4>Timeline</h4><p class="soft">${summary}</p>${LEGEND}`,
    from > 0 ? folded(`${from} equal messages before`, table(0, from)) : '',
    table(from, Math.min(to, rows.length)),
    to < rows.length ? folded(`${rows.length - to} more messages`, table(to, rows.length)) : '',
    dirtyHtml(timeline),
  ].join('');
}

/** The plot of a timeline's copies; nothing where there was none. */
function dirtyHtml({ dirty, sides }: Timeline): string {
  if (!dirty.some((samples) => samples.length > 1)) return '';
  const legend = sides.map((side, index) => {
    const name = index === 0 ? 'one' : 'two';
    return `<span class="${name}"><i></i>${escapeXml(side)}</span>`;
  });
  return `<h4>Dirty bytes over time</h4><p class="legend">${legend.join('')}</p><div class="plot">${dirtyPlot(dirty, 'Dirty bytes over time')}</div>`;
}

function folded(summary: string, inner: string): string {
  return `<details><summary>${summary}</summary>${inner}</details>`;
}

function tableOf({ rows, sides, firstDifference }: Timeline, from: number, to: number): string {
  const columns = sides.map(() => '<col class="time"><col>').join('');
  const head = sides.map((side) => `<th>ms</th><th>${escapeXml(side)}</th>`).join('');
  const width = sides.length * 2;
  const body = rows.slice(from, to).map((row, offset) => {
    const isFirst = from + offset === firstDifference;
    const mark = isFirst ? `<tr class="mark"><td colspan="${width}">▼ first difference</td></tr>` : '';
    return mark + rowHtml(row, sides.length, isFirst);
  });
  return (
    `<div class="scroll"><table class="timeline"><colgroup>${columns}</colgroup>` +
    `<thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
  );
}

function rowHtml({ left, right }: TimelineRow, width: number, isFirst: boolean): string {
  const isEqual = width === 1 || (!isFirst && left !== undefined && right !== undefined);
  const cells = width === 1 ? [left] : [left, right];
  const html = cells.map((entry) => cellHtml(entry, isEqual)).join('');
  return `<tr${isFirst ? ' class="differs"' : ''}>${html}</tr>`;
}

function cellHtml(entry: TimelineEntry | undefined, isEqual: boolean): string {
  if (!entry) return '<td class="time gap"></td><td class="gap"></td>';
  const only = isEqual ? '' : ' only';
  const [name, rest] = wording(entry);
  const isCut = rest.length > CELL_CHARS;
  const title = isCut ? ` title="${escapeXml(rest)}"` : '';
  const shown = isCut ? `${rest.slice(0, CELL_CHARS)} …` : rest;
  return (
    `<td class="time${only}">${entry.ms.toFixed(3)}</td>` +
    `<td class="${entry.kind}${only}"${title}><b>${escapeXml(name)}</b> <span class="rest">${escapeXml(shown)}</span></td>`
  );
}

/** What a message is, and the rest of it. */
function wording({ kind, text }: TimelineEntry): [name: string, rest: string] {
  const message = parsed(text);
  const show = (value: unknown) => (value === undefined ? '' : JSON.stringify(value));
  if (!message) return [kind, text];
  if (kind === 'command') return [String(message.execute), show(message.arguments)];
  if (kind === 'event') return [String(message.event), show(message.data)];
  return [kind === 'error' ? 'error' : 'return', show(message.error ?? message.return)];
}

function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(text);
  } catch {
    // A message that was cut is no JSON any more; it is shown as it is.
    return undefined;
  }
}
