import type { Errno } from './errno.ts';

/** QAPI QapiErrorClass, as far as block work meets it. */
export type ErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound';

/** What a refusal is about, for generations that have another text, class or data for it. */
export type Grounds =
  | { readonly kind: 'device-not-found' | 'no-medium' | 'in-use'; readonly device: string }
  | { readonly kind: 'not-removable' | 'not-encrypted'; readonly device: string }
  | { readonly kind: 'not-active' | 'not-ready' | 'job-paused'; readonly device: string }
  | { readonly kind: 'base-not-found'; readonly base: string }
  | { readonly kind: 'open-failed'; readonly filename: string }
  | { readonly kind: 'invalid-format' | 'invalid-parameter' | 'fd-not-found'; readonly name: string }
  | { readonly kind: 'not-supported' };

/** A command was refused: becomes the `error` member of its reply. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly errorClass: ErrorClass;
  /** Left out: every generation says the same. */
  readonly grounds: Grounds | undefined;
  /** The file that somebody else has locked, if that is why: the human monitor names it. */
  lockedFile: string | undefined;
  /** What a job fails with that meets this refusal at its end; left out: EPERM. */
  errno: Errno | undefined;
  constructor(desc: string, errorClass: ErrorClass = 'GenericError', grounds?: Grounds) {
    super(desc);
    this.errorClass = errorClass;
    this.grounds = grounds;
  }
}

/** Refuses the running command. */
export function refuse(desc: string, errorClass: ErrorClass = 'GenericError', grounds?: Grounds): never {
  throw new CommandError(desc, errorClass, grounds);
}
