/** Dirty bytes over time, as an inline SVG. */

import type { DirtySample } from '../timeline.ts';
import { escapeXml } from './escape.ts';

/** In the units of the text, so that a plot fits its place on the page. */
export const PLOT_WIDTH = { wide: 640, small: 360 } as const;
const HEIGHT = 190;
const LEFT = 66;
const RIGHT = 14;
const TOP = 12;
const BOTTOM = 30;
const CLASSES = ['one', 'two'] as const;

/** One curve per side; a side without samples has none. Steps, because nothing is known between two looks. */
export function dirtyPlot(
  series: readonly (readonly DirtySample[])[],
  title: string,
  width: number = PLOT_WIDTH.wide,
): string {
  const all = series.flat();
  const maxMs = Math.max(...all.map(([ms]) => ms), 0.001);
  const maxBytes = Math.max(...all.map(([, bytes]) => bytes), 1);
  const x = (ms: number) => LEFT + (ms / maxMs) * (width - LEFT - RIGHT);
  const y = (bytes: number) => HEIGHT - BOTTOM - (bytes / maxBytes) * (HEIGHT - TOP - BOTTOM);
  const curves = series.map((samples, side) => curve(samples, x, y, CLASSES[side] ?? 'two'));
  const base = HEIGHT - BOTTOM;
  return [
    `<svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${escapeXml(title)}">`,
    `<title>${escapeXml(title)}</title>`,
    ...[0, 0.5, 1].map((part) => {
      const height = y(maxBytes * part);
      const text = `<text x="${LEFT - 8}" y="${height + 4}" text-anchor="end">${bytesText(maxBytes * part)}</text>`;
      return `<path class="axis" d="M${LEFT} ${round(height)}H${width - RIGHT}"/>${text}`;
    }),
    `<text x="${LEFT}" y="${base + 20}">0 ms</text>`,
    `<text x="${width - RIGHT}" y="${base + 20}" text-anchor="end">${msText(maxMs)}</text>`,
    ...curves,
    '</svg>',
  ].join('');
}

function curve(
  samples: readonly DirtySample[],
  x: (ms: number) => number,
  y: (bytes: number) => number,
  name: string,
): string {
  const [first, ...rest] = samples;
  if (!first) return '';
  const steps = rest.map(([ms, bytes]) => `H${round(x(ms))}V${round(y(bytes))}`).join('');
  const line = `M${round(x(first[0]))} ${round(y(first[1]))}${steps}`;
  const dots = samples.length > 12 ? '' : samples.map(([ms, bytes]) => dot(x(ms), y(bytes), name)).join('');
  const area = name === 'one' ? `<path class="area" d="${line}V${round(y(0))}H${round(x(first[0]))}Z"/>` : '';
  return `${area}<path class="curve ${name}" d="${line}"/>${dots}`;
}

const dot = (x: number, y: number, name: string): string =>
  `<circle class="curve ${name}" cx="${round(x)}" cy="${round(y)}" r="2"/>`;
const round = (value: number): number => Math.round(value * 10) / 10;

/** Bytes in the unit that fits. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[power]}`;
}

function msText(ms: number): string {
  return ms < 10_000 ? `${round(ms)} ms` : `${round(ms / 1000)} s`;
}
