import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import type { Profile } from '../../../../mock-qemu/profiles/profile.ts';
import type { CommandPort } from '../../../../mock-qemu/qmp/command-port.ts';
import { createMonitor, type Monitor } from '../../../../mock-qemu/qmp/session.ts';
import type { Json } from '../../../../src/qmp/messages.ts';

/** Answers every command with an empty object. */
export const OBLIGING: CommandPort = {
  execute: (_name, _args, reply) => reply({ ok: true, value: {} }),
};

/** A monitor on a desk: text in, lines out, per connection. */
export class Desk {
  readonly monitor: Monitor;
  readonly #sent = new Map<number, string>();

  constructor(commands: CommandPort = OBLIGING, profile: Profile = profileNamed('qemu-7.2')) {
    const decoder = new TextDecoder();
    this.monitor = createMonitor({
      profile,
      commands,
      now: () => 1_700_000_000_123_456_789n,
      send: (connection, bytes) => {
        this.#sent.set(connection, (this.#sent.get(connection) ?? '') + decoder.decode(bytes));
      },
    });
  }

  /** Sends text and returns the lines that came since the last call. */
  say(text: string | Uint8Array, connection = 1): string[] {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    this.monitor.receive(connection, bytes);
    return this.heard(connection);
  }

  /** Lines that came since the last call. */
  heard(connection = 1): string[] {
    const text = this.#sent.get(connection) ?? '';
    this.#sent.set(connection, '');
    return text.split('\r\n').slice(0, -1);
  }

  /** A connection that has negotiated. */
  negotiated(connection = 1, enable: readonly string[] = []): this {
    this.monitor.connect(connection);
    this.say(command('qmp_capabilities', enable.length > 0 ? { enable } : undefined), connection);
    return this;
  }
}

/** The text of the error in a line. */
export function errorIn(line: string | undefined): { readonly class?: string; readonly desc?: string } {
  return (JSON.parse(line ?? '{}') as { error?: { class: string; desc: string } }).error ?? {};
}

/** A command as text. */
export const command = (execute: string, args?: Json, id?: Json): string =>
  JSON.stringify({ execute, arguments: args, id });
