/** What became of a job whose machine is gone, as far as the images tell. */
import { aftermathOf, type JobEntry, type LeavingImage } from './blockjob/registry.ts';
import { chainBelow } from './chains.ts';
import type { ImageDescription } from './conf/disk.ts';
import { isVirtError } from './errors.ts';
import type { DomainRecord } from './record.ts';
import { outcomeOf } from './running.ts';

/** Keeps what became of a pull or a commit, and takes over its result if it has one: it rewrites headers as its last act. */
export async function tellCutOff(record: DomainRecord, entry: JobEntry): Promise<void> {
  const completed = await headersSay(record, entry.after);
  record.outcomes.add(outcomeOf(entry, completed ? 'completed' : 'failed'));
  if (completed) await adoptResult(record, entry);
}

/** A job has succeeded of whose machine nothing is left. */
export async function adoptResult(record: DomainRecord, entry: JobEntry): Promise<void> {
  const { disk, after } = entry;
  const previous = disk.chain[0];
  const { leaving } = aftermathOf(entry, true);
  disk.chain = after;
  record.followChain(disk, previous?.path);
  await unlinkLeft(record, leaving);
}

/** Whether the chain that the headers describe is this one. */
export async function headersSay(
  { services }: DomainRecord,
  chain: readonly ImageDescription[],
): Promise<boolean> {
  const [active] = chain;
  if (!active) return false;
  try {
    const found = await chainBelow(services.driver.volumes, [active], false);
    return found.length === chain.length && found.every(({ path }, depth) => path === chain[depth]?.path);
  } catch (error) {
    if (!isVirtError(error)) throw error;
    return false;
  }
}

/**
 * Unlinks those that are to go, before the journal forgets them: whoever comes after a crash finds them again. libvirt
 * leaves behind, with a warning in its log, what it cannot unlink; only local files are unlinked.
 */
export async function unlinkLeft(record: DomainRecord, leaving: readonly LeavingImage[]): Promise<void> {
  for (const { image, unlinks } of leaving) {
    if (!unlinks || image.type !== 'file') continue;
    try {
      await record.services.driver.volumes.remove(image.path);
    } catch (error) {
      if (!isVirtError(error)) throw error;
    }
  }
}
