/** The client's end of a QMP connection that never leaves the process. */
import type { Duplex } from '../../src/qmp/duplex.ts';

/** What the far end of a link is told. */
export interface LinkOwner {
  /** The client has sent bytes; it may use their memory again after the call. */
  sent(link: Link, bytes: Uint8Array): void;
  /** The client has closed its end. */
  left(link: Link): void;
}

/** One connection: a {@link Duplex} for the client, `deliver` and `end` for whoever serves it. */
export class Link implements Duplex {
  readonly connection: number;
  readonly #owner: LinkOwner;
  #onData: ((bytes: Uint8Array) => void) | undefined;
  #onClose: ((cause?: Error) => void) | undefined;
  /** What came before there was a listener. */
  #early: Uint8Array[] = [];
  #state: 'open' | 'closing' | 'ended' = 'open';

  constructor(connection: number, owner: LinkOwner) {
    this.connection = connection;
    this.#owner = owner;
  }

  write(bytes: Uint8Array): void {
    if (this.#state === 'open') this.#owner.sent(this, bytes);
  }

  onData(listener: (bytes: Uint8Array) => void): void {
    this.#onData = listener;
    for (const bytes of this.#early.splice(0)) listener(bytes);
  }

  onClose(listener: (cause?: Error) => void): void {
    this.#onClose = listener;
    if (this.#state === 'ended') listener();
  }

  close(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#owner.left(this);
  }

  /** Hands bytes to the client, unless it has closed its end. */
  deliver(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    if (this.#onData) this.#onData(bytes);
    else this.#early.push(bytes);
  }

  /** The connection is over, from whichever side. */
  end(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#onClose?.();
  }
}
