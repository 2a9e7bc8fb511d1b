/** Puts itself on the wire between the QEMU driver and its emulators: to write down what passes, and to break it. */
import { overlay } from '../../conformance/index.ts';
import type { WireMessage, WireMutationFactory, WirePort } from '../../conformance/wire.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { Duplex } from '../../src/qmp/duplex.ts';

/** What is done to every monitor connection of a host. */
export interface WireTap {
  /** Makes one mutation per connection. */
  readonly mutation?: WireMutationFactory;
  /** Gets every message as it leaves the tap, in order: one line, with the host's time in ms and the connection. */
  readonly onLine?: (line: string) => void;
}

/** The same host, with a tap on every monitor connection of its emulators; whatever else it can do, it still can. */
export function tapHost(host: Host, tap: WireTap): Host {
  let connections = 0;
  const tapEmulator = (emulator: Emulator): Emulator =>
    overlay(emulator, {
      async connect() {
        const number = ++connections;
        const label = (direction: '>' | '<', text: string) =>
          tap.onLine?.(`${host.timers.now().toFixed(3)} ${number} ${direction} ${text}`);
        return tapDuplex(await emulator.connect(), tap.mutation, label);
      },
    });
  const { attach } = host;
  return overlay(host, {
    launch: async (emulator, argv, launched) => tapEmulator(await host.launch(emulator, argv, launched)),
    ...(attach && {
      async attach(handle) {
        const found = await attach.call(host, handle);
        return found && tapEmulator(found);
      },
    }),
  });
}

/** Cuts a stream of bytes into lines. Both ends of a QMP wire put one message on a line. */
class Lines {
  readonly #decoder = new TextDecoder();
  #rest = '';

  /** What came behind the last line and cannot be the beginning of a message: whole, or none at all. */
  takeRest(): string {
    if (isUnfinished(this.#rest)) return '';
    const rest = this.#rest;
    this.#rest = '';
    return rest;
  }

  take(bytes: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map((line) => line.trim()).filter((line) => line !== '');
  }
}

/** Whether a text ends within a string or within brackets. */
function isUnfinished(text: string): boolean {
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (token.length === 1 || !token.endsWith(token.charAt(0))) return true;
  }
  return depth > 0;
}

/** One direction's parsed message, with the text it came as: what is passed on unchanged keeps its every digit. */
function parse(line: string): WireMessage | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as WireMessage)
      : undefined;
  } catch {
    return undefined;
  }
}

function tapDuplex(
  inner: Duplex,
  makeMutation: WireMutationFactory | undefined,
  label: (direction: '>' | '<', text: string) => void,
): Duplex {
  const mutation = makeMutation?.() ?? {};
  const encoder = new TextEncoder();
  const [commands, answers] = [new Lines(), new Lines()];
  let listener: (bytes: Uint8Array) => void = () => {};

  const down = (text: string) => {
    label('>', text);
    inner.write(encoder.encode(`${text}\r\n`));
  };
  const whole = (text: string) => {
    label('>', text);
    inner.write(encoder.encode(text));
  };
  const up = (text: string) => {
    label('<', text);
    listener(encoder.encode(`${text}\r\n`));
  };
  const pass = (
    line: string,
    handle: ((message: WireMessage, port: WirePort) => void) | undefined,
    ahead: (text: string) => void,
    behind: (text: string) => void,
  ) => {
    const message = handle && parse(line);
    if (!handle || !message) ahead(line);
    else
      handle(message, {
        forward: (next) => ahead(next === message ? line : JSON.stringify(next)),
        back: (next) => behind(JSON.stringify(next)),
      });
  };
  return {
    write(bytes) {
      if (!mutation.toQemu) {
        // As it came, also where it is no message at all.
        for (const line of commands.take(bytes)) label('>', line);
        inner.write(bytes);
        return;
      }
      // An answer given here must not reach the driver before its own call has returned.
      const answer = (text: string) => queueMicrotask(() => up(text));
      for (const line of commands.take(bytes)) pass(line, mutation.toQemu, down, answer);
      // A client need not end its line: what is a message goes the same way, what is none goes on as it is.
      const rest = commands.takeRest();
      if (rest !== '') pass(rest, mutation.toQemu, whole, answer);
    },
    onData(next) {
      listener = next;
      inner.onData((bytes) => {
        for (const line of answers.take(bytes)) pass(line, mutation.fromQemu, up, down);
      });
    },
    onClose: (next) => inner.onClose(next),
    close: () => inner.close(),
  };
}
