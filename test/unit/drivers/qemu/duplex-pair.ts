/** The far end of a monitor connection, played by a test. */

import { parseQmp, type QmpObject, type QmpValue, stringifyQmp } from '../../../../drivers/qemu/qmp-json.ts';
import type { Duplex } from '../../../../src/qmp/duplex.ts';

/** Answers one command: a return value, or an error body. */
export type Answer = (
  args: QmpObject,
  server: FakeServer,
) => QmpValue | { readonly error: QmpObject } | undefined;

/** What a QEMU says first. */
export const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'test' }, capabilities: ['oob'] },
};

/** A duplex whose other end is in the test's hands: every byte is the test's choice, everything is synchronous. */
export class FakeServer {
  /** Commands as they came, without their ids. */
  readonly received: QmpObject[] = [];
  readonly duplex: Duplex;
  closed = false;
  #onData: ((bytes: Uint8Array) => void) | undefined;
  #onClose: ((cause?: Error) => void) | undefined;
  #early: Uint8Array[] = [];
  #answers: Readonly<Record<string, Answer>>;

  constructor(answers: Readonly<Record<string, Answer>> = {}, greeting: QmpValue = GREETING) {
    this.#answers = { qmp_capabilities: () => ({}), ...answers };
    this.duplex = {
      write: (bytes) => this.#onCommand(new TextDecoder().decode(bytes)),
      onData: (listener) => {
        this.#onData = listener;
        for (const bytes of this.#early.splice(0)) listener(bytes);
      },
      onClose: (listener) => {
        this.#onClose = listener;
        if (this.closed) listener();
      },
      close: () => this.hangUp(),
    };
    this.send(greeting);
  }

  /** Sends a message as one chunk. */
  send(message: QmpValue): void {
    this.sendBytes(new TextEncoder().encode(`${stringifyQmp(message)}\r\n`));
  }

  /** Sends an event. */
  event(event: string, data: QmpObject = {}): void {
    this.send({ event, data, timestamp: { seconds: 1, microseconds: 2 } });
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.#onData === undefined) this.#early.push(bytes);
    else this.#onData(bytes);
  }

  /** Closes the stream, as both a crash and our own close do. */
  hangUp(cause?: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.#onClose?.(cause);
  }

  #onCommand(line: string): void {
    const command = parseQmp(line) as QmpObject;
    const { id = null, ...rest } = command;
    this.received.push(rest);
    const answer = this.#answers[String(command.execute)];
    if (answer === undefined) {
      this.send({
        error: { class: 'CommandNotFound', desc: `The command ${command.execute} has not been found` },
        id,
      });
      return;
    }
    const value = answer((command.arguments ?? {}) as QmpObject, this);
    if (value === undefined) return;
    const refused = typeof value === 'object' && value !== null && 'error' in value;
    this.send(refused ? { ...(value as QmpObject), id } : { return: value, id });
  }
}
