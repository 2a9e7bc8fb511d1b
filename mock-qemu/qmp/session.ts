/**
 * The monitor side of QMP: greeting, negotiation, requests, replies, events. Commands themselves are executed behind
 * the command port, one at a time over all connections.
 */
import type { JsonObject } from '../../src/qmp/messages.ts';
import type { Profile } from '../profiles/profile.ts';
import type { CommandPort } from './command-port.ts';

/** What a monitor needs of the machine it belongs to. */
export interface MonitorOptions {
  readonly profile: Profile;
  readonly commands: CommandPort;
  /** Nanoseconds since the Unix epoch, for event timestamps. */
  readonly now: () => bigint;
  /** Sends bytes to a connection's client. */
  readonly send: (connection: number, bytes: Uint8Array) => void;
}

/** All QMP connections of one machine. */
export interface Monitor {
  /** A client is there: it gets its greeting. */
  connect(connection: number): void;
  /** Bytes from a client. */
  receive(connection: number, bytes: Uint8Array): void;
  /** The client has gone: what it had queued is dropped, a command that is executing completes unheard. */
  disconnect(connection: number): void;
  /** Tells every negotiated client; throttling is the caller's. */
  emit(event: string, data?: JsonObject): void;
}
