/** Thrown when mockvirt itself is wrong; never caught, never shown as a libvirt error. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Stops the program when an assumption of the code (not of its input) does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types rule out, so that a new variant breaks the build until it is handled. */
export function unreachable(value: never, what = 'variant'): never {
  throw new AssertionError(`unhandled ${what}: ${JSON.stringify(value)}`);
}
