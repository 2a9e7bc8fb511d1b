/** Finds the first place where two transcripts part. */

import { explainTexts } from './explain.ts';
import { inFixedOrder } from './free-orders.ts';
import type { Script } from './script.ts';
import { GRAPH_QUERIES, type Transcript } from './transcript.ts';

/** The first difference of two transcripts. */
export interface Divergence {
  /** Where: `step 3 block-commit`, `end`, `file top.qcow2`. */
  readonly place: string;
  /** The command at which the sides parted, or the part of the transcript. */
  readonly subject: string;
  readonly real: string;
  readonly simulated: string;
  /** The script's steps, one JSON text a line. */
  readonly script: string;
  /** The command that ended the real one before it was told to quit, if that is where the sides parted, or before. */
  readonly killer: string | undefined;
}

interface Part {
  /** Number of the step, from 0; after the last one that of the end. */
  readonly step: number;
  readonly place: string;
  readonly subject: string;
  readonly text: string;
}

function partsOf(script: Script, transcript: Transcript, profile: string): Part[] {
  const parts: Part[] = [];
  transcript.steps.forEach(({ heard, jobs }, index) => {
    const name = script.steps[index]?.execute ?? '';
    const place = `step ${index + 1} ${name}`;
    const told = inFixedOrder(heard, profile, script.steps.slice(0, index + 1)).join('\n');
    parts.push({ step: index, place, subject: name, text: told });
    parts.push({
      step: index,
      place: `${place}, jobs at rest`,
      subject: `${name} at rest`,
      text: jobs.join('\n'),
    });
  });
  const step = script.steps.length;
  transcript.graph.forEach((text, index) => {
    parts.push({ step, place: `final query ${index + 1}`, subject: `final query ${index + 1}`, text });
  });
  const end = inFixedOrder(transcript.end, profile, []).join('\n');
  parts.push({ step, place: 'quit', subject: 'quit', text: end });
  parts.push({ step, place: 'stdout', subject: 'stdout', text: transcript.stdout });
  for (const { name, text } of transcript.files) {
    parts.push({ step, place: `file ${name}`, subject: 'file', text });
  }
  return parts;
}

/** The first difference, if there is one. */
export function diverges(
  script: Script,
  profile: string,
  real: Transcript,
  simulated: Transcript,
): Divergence | undefined {
  const left = partsOf(script, real, profile);
  const right = partsOf(script, simulated, profile);
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [a, b] = [left[index], right[index]];
    if (a?.text === b?.text && a?.place === b?.place) continue;
    const { step, place, subject } = a ?? b ?? { step: 0, place: 'nowhere', subject: 'nowhere' };
    const killer = killerOf(script, real);
    return {
      place,
      subject,
      real: a?.text ?? '',
      simulated: b?.text ?? '',
      script: script.steps.map((each) => JSON.stringify(each)).join('\n'),
      killer: killer && killer.step <= step ? killer.text : undefined,
    };
  }
  return undefined;
}

/** The command that a real one did not survive. */
function killerOf(
  { steps }: Script,
  { steps: records, graph, end }: Transcript,
): { readonly step: number; readonly text: string } | undefined {
  if (!end.some((line) => line.includes('"died":'))) return undefined;
  const answers = (text: string | undefined) => text?.includes('"return":') === true;
  const step = records.findIndex(({ jobs }) => jobs.length === 0 || !jobs.every(answers));
  if (step >= 0) return { step, text: JSON.stringify(steps[step]) };
  const query = GRAPH_QUERIES.findIndex((_, index) => !answers(graph[index]));
  return { step: steps.length, text: JSON.stringify({ execute: GRAPH_QUERIES[query] ?? 'quit' }) };
}

/** A difference as lines: common lines once, real ones with `-`, simulated ones with `+`. */
export const explain = ({ place, real, simulated }: Divergence): string =>
  [`at ${place}:`, ...explainTexts(real, simulated)].join('\n');

/** What a difference is about, so that equal ones are told once. */
export function signature(divergence: Divergence): string {
  const lines = explain(divergence)
    .split('\n')
    .filter((line) => /^[-+] /.test(line))
    .slice(0, 2);
  return `${divergence.subject} ${lines.join(' ').replaceAll(/\d+/g, 'N').slice(0, 220)}`;
}
