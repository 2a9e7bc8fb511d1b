/** QAPI QapiErrorClass, as far as block work meets it. */
export type ErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound';

/** A command was refused: becomes the `error` member of its reply. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly errorClass: ErrorClass;
  constructor(desc: string, errorClass: ErrorClass = 'GenericError') {
    super(desc);
    this.errorClass = errorClass;
  }
}

/** Refuses the running command. */
export function refuse(desc: string, errorClass: ErrorClass = 'GenericError'): never {
  throw new CommandError(desc, errorClass);
}
