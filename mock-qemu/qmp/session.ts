/**
 * The monitor side of QMP: greeting, negotiation, requests, replies, events. Commands themselves are executed behind
 * the command port, one at a time over all connections.
 */
import type { Json, JsonObject, QmpErrorBody } from '../../src/qmp/messages.ts';
import { assert } from '../../src/util/assert.ts';
import type { Profile } from '../profiles/profile.ts';
import type { CommandPort, CommandResult } from './command-port.ts';
import { JsonStream, type StreamItem } from './json-stream.ts';
import { isWireObject, type WireValue } from './json-value.ts';
import { writeJson } from './json-write.ts';
import type { Sent } from './outbox.ts';
import { type ProtocolFault, protocolError } from './protocol-errors.ts';
import { isOutOfBand, type Request, readRequest } from './request.ts';
import { type ArgumentChecker, checkerOf } from './schema.ts';
import { WireEncoder } from './wire-encoder.ts';

/** What a monitor needs of the machine it belongs to. */
export interface MonitorOptions {
  readonly profile: Profile;
  readonly commands: CommandPort;
  /** Nanoseconds since the Unix epoch, for event timestamps. */
  readonly now: () => bigint;
  /** Sends bytes to a connection's client. */
  readonly send: (connection: number, bytes: Uint8Array, what: Sent) => void;
}

/** All QMP connections of one machine. */
export interface Monitor {
  /** A client is there: it gets its greeting. */
  connect(connection: number): void;
  /** Bytes from a client; the array must not change afterwards. */
  receive(connection: number, bytes: Uint8Array): void;
  /** The client has gone: what it had queued is dropped, a command that is executing completes unheard. */
  disconnect(connection: number): void;
  /** Bytes of a client that wait to be read, as they do while a command is executing. */
  unreadBytes(connection: number): number;
  /** Tells every negotiated client; throttling is the caller's. */
  emit(event: string, data?: JsonObject): void;
}

/** With out-of-band execution this many requests are read ahead, otherwise only one. */
const READ_AHEAD = { oob: 8, inBand: 1 } as const;

const NS_PER_SECOND = 1_000_000_000n;
const NS_PER_MICROSECOND = 1_000n;

/** One client, from its greeting to its end. */
class Session {
  readonly connection: number;
  readonly stream = new JsonStream();
  /** Requests that wait for their turn. */
  readonly queue: StreamItem[] = [];
  negotiated = false;
  oob = false;
  gone = false;

  constructor(connection: number) {
    this.connection = connection;
  }
}

/** What a reply carries back of its request: nothing, where the request had no id. */
type Echo = { readonly id?: WireValue };

const echoOf = (value: WireValue): Echo => {
  const id = isWireObject(value) ? value.get('id') : undefined;
  return id === undefined ? {} : { id };
};

class QmpMonitor implements Monitor {
  readonly #options: MonitorOptions;
  readonly #profile: Profile;
  readonly #checker: ArgumentChecker;
  readonly #encoder = new WireEncoder();
  /** In the order of whose turn it is. */
  readonly #sessions = new Map<number, Session>();
  /** Whose command is executing. */
  #executing: Session | undefined;
  #pumping = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#profile = options.profile;
    this.#checker = checkerOf(options.profile);
  }

  connect(connection: number): void {
    assert(!this.#sessions.has(connection), `connection ${connection} is connected already`);
    const session = new Session(connection);
    this.#sessions.set(connection, session);
    const { version, package: packageText, capabilities } = this.#profile.introspection.greeting;
    const { micro, minor, major } = version;
    this.#greet(session, {
      QMP: { version: { qemu: { micro, minor, major }, package: packageText }, capabilities },
    });
  }

  receive(connection: number, bytes: Uint8Array): void {
    const session = this.#sessions.get(connection);
    assert(session, `connection ${connection} is not connected`);
    session.stream.feed(bytes);
    this.#pump();
  }

  unreadBytes(connection: number): number {
    return this.#sessions.get(connection)?.stream.unreadBytes ?? 0;
  }

  disconnect(connection: number): void {
    const session = this.#sessions.get(connection);
    if (!session) return;
    session.gone = true;
    this.#sessions.delete(connection);
  }

  emit(event: string, data?: JsonObject): void {
    let bytes: Uint8Array | undefined;
    for (const session of this.#sessions.values()) {
      if (!session.negotiated) continue;
      bytes ??= this.#eventBytes(event, data);
      this.#options.send(session.connection, bytes, { kind: 'event' });
    }
  }

  #eventBytes(event: string, data: JsonObject | undefined): Uint8Array {
    const now = this.#options.now();
    const seconds = now / NS_PER_SECOND;
    const microseconds = (now % NS_PER_SECOND) / NS_PER_MICROSECOND;
    const head = { timestamp: { seconds, microseconds }, event };
    return this.#encoded(data === undefined ? head : { ...head, data });
  }

  #encoded(message: Json | WireValue): Uint8Array {
    return this.#encoder.encode(`${writeJson(message)}\r\n`);
  }

  #greet(session: Session, message: JsonObject): void {
    this.#options.send(session.connection, this.#encoded(message), { kind: 'greeting' });
  }

  /** Executes requests, one after the other, as long as there are some and none is executing. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#turn());
    } finally {
      this.#pumping = false;
    }
  }

  /** Gives the next session that has a request its turn; false if none can be executed now. */
  #turn(): boolean {
    for (const session of this.#sessions.values()) this.#readAhead(session);
    if (this.#executing) return false;
    for (const session of this.#sessions.values()) {
      const item = session.queue.shift();
      if (!item) continue;
      if (this.#sessions.size > 1) this.#toTheEnd(session);
      this.#handle(session, item);
      return true;
    }
    return false;
  }

  /** Puts a session behind all others: they take turns. */
  #toTheEnd(session: Session): void {
    this.#sessions.delete(session.connection);
    this.#sessions.set(session.connection, session);
  }

  /** Reads requests as far as QEMU would: without out-of-band execution nothing is read while one is executing. */
  #readAhead(session: Session): void {
    if (this.#executing === session && !session.oob) return;
    const limit = session.oob ? READ_AHEAD.oob : READ_AHEAD.inBand;
    while (session.queue.length < limit && !session.gone) {
      const item = session.stream.next();
      if (!item) return;
      if ('value' in item && isOutOfBand(item.value)) this.#dispatch(session, item.value);
      else session.queue.push(item);
    }
  }

  #handle(session: Session, item: StreamItem): void {
    if ('value' in item) this.#dispatch(session, item.value);
    else this.#refuse(session, {}, this.#fault({ kind: 'json', text: item.error }));
  }

  #fault(fault: ProtocolFault): QmpErrorBody {
    return protocolError(this.#profile.errors, fault);
  }

  /** Takes a value to its command, or answers why not. */
  #dispatch(session: Session, value: WireValue): void {
    const request = readRequest(value, session.oob);
    const echo = echoOf(value);
    if ('fault' in request) {
      const known = this.#profile.errors.idOnBadRequest ? echo : {};
      this.#refuse(session, known, this.#fault(request.fault));
    } else if (!session.negotiated && request.command !== 'qmp_capabilities') {
      this.#refuse(session, echo, this.#expectingNegotiation(request.command));
    } else if (!this.#checker.knows(request.command)) {
      this.#refuse(session, echo, this.#fault({ kind: 'command-not-found', name: request.command }));
    } else if (request.oob && !this.#checker.allowsOob(request.command)) {
      this.#refuse(session, echo, this.#fault({ kind: 'no-oob', name: request.command }));
    } else {
      this.#execute(session, echo, request);
    }
  }

  #execute(session: Session, echo: Echo, request: Request): void {
    const checked = this.#checker.check(request.command, request.args);
    if (!checked.ok) this.#refuse(session, echo, checked.error);
    else if (request.command === 'qmp_capabilities')
      this.#reply(session, echo, this.#negotiate(session, checked.args));
    else this.#run(session, echo, request, checked.args);
  }

  #run(session: Session, echo: Echo, request: Request, args: JsonObject): void {
    if (!request.oob) this.#executing = session;
    let replied = false;
    const reply = (result: CommandResult): void => {
      assert(!replied, `${request.command} replied twice`);
      replied = true;
      if (!request.oob) this.#executing = undefined;
      this.#reply(session, echo, result, request.command);
      this.#pump();
    };
    this.#options.commands.execute(request.command, args, reply, session.connection);
  }

  #negotiate(session: Session, args: JsonObject): CommandResult {
    if (session.negotiated) return { ok: false, error: this.#repeatedNegotiation() };
    const enable = (args.enable ?? []) as readonly string[];
    const offered = this.#profile.introspection.greeting.capabilities;
    const missing = enable.filter((capability) => !offered.includes(capability));
    if (missing.length > 0) {
      const desc = `Capability ${missing.join(', ')} not available`;
      return { ok: false, error: { class: 'GenericError', desc } };
    }
    session.negotiated = true;
    session.oob = enable.includes('oob');
    return { ok: true, value: {} };
  }

  #expectingNegotiation(command: string): QmpErrorBody {
    const style = this.#profile.errors.beforeNegotiation;
    if (style === 'not-found') return this.#fault({ kind: 'command-not-found', name: command });
    const desc = "Expecting capabilities negotiation with 'qmp_capabilities'";
    const suffix = style === 'expecting-for-command' ? ` before command '${command}'` : '';
    return { class: 'CommandNotFound', desc: desc + suffix };
  }

  #repeatedNegotiation(): QmpErrorBody {
    if (this.#profile.errors.repeatedNegotiation === 'not-found') {
      return this.#fault({ kind: 'command-not-found', name: 'qmp_capabilities' });
    }
    const desc = 'Capabilities negotiation is already complete, command ignored';
    return { class: 'CommandNotFound', desc };
  }

  #refuse(session: Session, echo: Echo, error: QmpErrorBody): void {
    this.#reply(session, echo, { ok: false, error });
  }

  #reply(session: Session, echo: Echo, result: CommandResult, command?: string): void {
    if (session.gone) return;
    const id = echo.id === undefined ? undefined : writeJson(echo.id);
    // The id stands where QEMU puts it: behind a return value, before an error.
    const body = result.ok
      ? `{"return": ${writeJson(result.value)}${id === undefined ? '' : `, "id": ${id}`}}`
      : `{${id === undefined ? '' : `"id": ${id}, `}"error": ${writeJson({ ...result.error })}}`;
    const what: Sent = command === undefined ? { kind: 'reply' } : { kind: 'reply', command };
    this.#options.send(session.connection, this.#encoder.encode(`${body}\r\n`), what);
  }
}

/** The monitor of one machine. */
export function createMonitor(options: MonitorOptions): Monitor {
  return new QmpMonitor(options);
}
