/** Scripts to which the real QEMU answers now so, now so. */
import type { Divergence } from './compare.ts';

// A real one that does two things equally often does the other one in these with 31 chances of 32.
const MORE_RUNS = 5;
// One that has shown three answers may have many: the simulation's must be among these.
const MANY_RUNS = 60;
const MANY_ANSWERS = 3;

/** What the real one said where the sides parted. */
const answerOf = ({ place, real }: Divergence): string => `${place}\n${real}`;

/**
 * Whether the real one, asked again and again, does once all that the simulation does.
 * @param first the difference that has been seen
 * @param ask runs the script once more on both sides
 */
export async function agreesAtLast(
  first: Divergence,
  ask: () => Promise<Divergence | undefined>,
): Promise<boolean> {
  const answers = new Set([answerOf(first)]);
  for (let run = 0; run < (answers.size < MANY_ANSWERS ? MORE_RUNS : MANY_RUNS); run++) {
    const divergence = await ask();
    if (!divergence) return true;
    answers.add(answerOf(divergence));
  }
  return false;
}
