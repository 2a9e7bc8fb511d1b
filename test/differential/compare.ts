/** Finds the first place where two transcripts part. */

import { explainTexts } from './explain.ts';
import { inFixedOrder } from './free-orders.ts';
import type { Script } from './script.ts';
import type { Transcript } from './transcript.ts';

/** The first difference of two transcripts. */
export interface Divergence {
  /** Where: `step 3 block-commit`, `end`, `file top.qcow2`. */
  readonly place: string;
  /** The command at which the sides parted, or the part of the transcript. */
  readonly subject: string;
  readonly real: string;
  readonly simulated: string;
  /** How the real one ended. */
  readonly end: string;
}

interface Part {
  readonly place: string;
  readonly subject: string;
  readonly text: string;
}

function partsOf(script: Script, transcript: Transcript, profile: string): Part[] {
  const parts: Part[] = [];
  transcript.steps.forEach(({ heard, jobs }, index) => {
    const name = script.steps[index]?.execute ?? '';
    const place = `step ${index + 1} ${name}`;
    parts.push({ place, subject: name, text: inFixedOrder(heard, profile).join('\n') });
    parts.push({ place: `${place}, jobs at rest`, subject: `${name} at rest`, text: jobs.join('\n') });
  });
  transcript.graph.forEach((text, index) => {
    parts.push({ place: `final query ${index + 1}`, subject: `final query ${index + 1}`, text });
  });
  parts.push({ place: 'quit', subject: 'quit', text: inFixedOrder(transcript.end, profile).join('\n') });
  parts.push({ place: 'stdout', subject: 'stdout', text: transcript.stdout });
  for (const { name, text } of transcript.files) parts.push({ place: `file ${name}`, subject: 'file', text });
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
    const { place, subject } = a ?? b ?? { place: 'nowhere', subject: 'nowhere' };
    return { place, subject, real: a?.text ?? '', simulated: b?.text ?? '', end: real.end.join('\n') };
  }
  return undefined;
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
