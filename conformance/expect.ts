/** How a contract says that it was broken. */
import { isVirtError, type VirtError } from '../src/index.ts';

/** A contract was broken: the backend's fault, as opposed to a mistake in the suite. */
export class Violation extends Error {
  override name = 'Violation';
}

/** A fact did not come true in time. */
export class DeadlineViolation extends Violation {
  override name = 'DeadlineViolation';
}

/** The domain of a case could not be made, so that nothing can be said about the contract. */
export class SetupFailure extends Error {
  override name = 'SetupFailure';
}

/** Breaks the contract with `message` unless `condition` holds. */
export function expect(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Violation(message);
}

/** Breaks the contract unless both values are the same JSON. */
export function expectEqual<T>(actual: T, expected: T, what: string): void {
  if (Object.is(actual, expected)) return;
  const [seen, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (seen !== wanted) throw new Violation(`${what}: expected ${wanted}, got ${seen}`);
}

/** Breaks the contract unless the call is refused with one of libvirt's error codes. */
export async function expectRefused(call: Promise<unknown>, code: number, what: string): Promise<VirtError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) throw new Violation(`${what} was accepted, expected a refusal with code ${code}`);
  if (!isVirtError(error)) throw error;
  expectEqual<number>(error.code, code, `code of the refusal of ${what} (${error.message})`);
  return error;
}
