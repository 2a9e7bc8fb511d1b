/**
 * The seam between a real and a simulated QEMU: one monitor connection as a stream of bytes. Chunks may split or
 * glue messages at will; nothing is delivered before a listener is set.
 */
export interface Duplex {
  /** Sends bytes; silently dropped once the stream is closed. */
  write(bytes: Uint8Array): void;
  /** Sets the one receiver of incoming bytes. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Sets the one receiver of the end of the stream: called once, with the cause if it was not an orderly end. */
  onClose(listener: (cause?: Error) => void): void;
  /** Ends the stream from this side; idempotent. `onClose` is called once all has been torn down. */
  close(): void;
}
