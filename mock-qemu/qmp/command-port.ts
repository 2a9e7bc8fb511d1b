/** The line between the QMP protocol (sessions, JSON, argument checks) and what commands do. */
import type { Json, JsonObject, QmpErrorBody } from '../../src/qmp/messages.ts';

/** How a command ended. */
export type CommandResult =
  | { readonly ok: true; readonly value: Json }
  | { readonly ok: false; readonly error: QmpErrorBody };

/** Executes commands whose arguments have been checked against the profile's schema. */
export interface CommandPort {
  /**
   * Executes a command. `reply` is called exactly once, before the return or later; QEMU runs one command at a time
   * over all monitors, so the caller holds the next one back until then. `connection` is the client that asks.
   */
  execute(name: string, args: JsonObject, reply: (result: CommandResult) => void, connection: number): void;
}
