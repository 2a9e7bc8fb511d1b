/** Makes a script that shows something smaller, as long as it still shows it. */
import type { Script } from './script.ts';

/**
 * The smallest script found: without what comes after the step that shows it, then without one step after another.
 * @param lastStep how many steps are needed at most
 * @param shows whether a script still shows what the given one does; asked once for each step at most
 */
export async function shrink(
  script: Script,
  lastStep: number,
  shows: (candidate: Script) => Promise<boolean>,
): Promise<Script> {
  let least = script;
  const attempt = async (steps: Script['steps']): Promise<boolean> => {
    const candidate = { ...least, steps };
    if (steps.length === least.steps.length || !(await shows(candidate))) return false;
    least = candidate;
    return true;
  };
  await attempt(script.steps.slice(0, lastStep));
  // From the end: what comes late seldom carries what comes before.
  for (let index = least.steps.length - 1; index >= 0; index--)
    await attempt(least.steps.toSpliced(index, 1));
  return least;
}
