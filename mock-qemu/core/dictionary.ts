/** QEMU's dictionaries: in which order their members come. It shows in file names and in which error comes first. */

const BUCKETS = 512;

/** Buckets of the names that nearly every request has. */
const COMMON_BUCKETS: ReadonlyMap<string, number> = new Map(
  ['execute', 'exec-oob', 'arguments', 'id'].map((name) => [name, dictionaryBucket(name)]),
);

/** QEMU's dictionary hash (that of tdb). */
function dictionaryBucket(name: string): number {
  const bytes = new TextEncoder().encode(name);
  let hash = Math.imul(0x238f13af, bytes.length);
  bytes.forEach((byte, at) => {
    hash = (hash + (byte << ((at * 5) % 24))) | 0;
  });
  return ((Math.imul(1103515243, hash) + 12345) >>> 0) % BUCKETS;
}

/** Names in the order in which QEMU visits a dictionary's members: by bucket, in one bucket the newest first. */
export function inDictionaryOrder(names: Iterable<string>): string[] {
  const keyed = [...names]
    .reverse()
    .map((name) => ({ name, bucket: COMMON_BUCKETS.get(name) ?? dictionaryBucket(name) }));
  return keyed.sort((left, right) => left.bucket - right.bucket).map(({ name }) => name);
}
