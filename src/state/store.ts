/**
 * Where a connection writes down what has to survive it: one text for each domain, under its UUID. Calls are
 * synchronous on purpose: what is irreversible is sent only after `write` has returned, and nothing runs in between.
 */

/** One text that is kept. */
export interface StoredText {
  readonly key: string;
  readonly text: string;
  /** Where a person finds it: the path of a file, or the key. */
  readonly place: string;
}

/**
 * A place for state, held by one connection at a time: whoever makes one takes its lock, or is refused with
 * OPERATION_INVALID.
 */
export interface StateStore {
  /** Everything kept, in the order of the keys. @throws VirtError SYSTEM_ERROR */
  load(): readonly StoredText[];
  /**
   * Replaces a text whole and for good: after a crash at any instant there is the old one or the new one.
   * @throws VirtError SYSTEM_ERROR; the old text is still there then
   */
  write(key: string, text: string): void;
  /** Removes a text; no error if there is none. @throws VirtError SYSTEM_ERROR */
  remove(key: string): void;
  /** Gives the lock back. Idempotent. */
  close(): void;
}
