/** Whom a redefined snapshot or checkpoint says that it came from. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import type { Moment, MomentStore } from '../moments.ts';

const invalid = (detail: string): VirtError =>
  new VirtError(ErrorCode.INVALID_ARG, detail, { domain: ErrorDomain.DOMAIN });

/**
 * The parent of a moment that is told of.
 * @throws VirtError INVALID_ARG for one that there is not, or that would come from its own child
 */
export function parentOf<D extends { readonly name: string }>(
  moments: MomentStore<D>,
  name: string,
  parent: string | undefined,
): Moment<D> | undefined {
  if (parent === undefined) return undefined;
  if (parent === name) throw invalid(`cannot set moment ${name} as its own parent`);
  const found = moments.byName(parent);
  if (!found) throw invalid(`parent ${parent} for moment ${name} not found`);
  const known = moments.byName(name);
  if (known && moments.isAbove(known, found)) {
    throw invalid(`parent ${parent} would create cycle to ${name}`);
  }
  return found;
}
