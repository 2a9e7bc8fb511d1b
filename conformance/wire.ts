/**
 * What crosses a QMP wire, and how it is broken on purpose. A mutation is a small stateful filter between a driver and
 * its QEMU; mutations compose like layers of an onion, the first one nearest to the driver.
 */

/** Any JSON value. */
export type WireValue =
  | null
  | boolean
  | number
  | string
  | readonly WireValue[]
  | { readonly [member: string]: WireValue };
/** One QMP message: a command, a reply, an event or the greeting. */
export type WireMessage = { readonly [member: string]: WireValue };

/** What a mutation may do with a message it was handed. Doing nothing drops the message. */
export interface WirePort {
  /** Lets a message go on in the direction it was going. */
  forward(message: WireMessage): void;
  /** Sends a message the other way, to where the handed one came from. */
  back(message: WireMessage): void;
}

/** Rewrites one connection's messages. A side without a handler passes everything. One object serves one connection. */
export interface WireMutation {
  readonly toQemu?: (message: WireMessage, port: WirePort) => void;
  readonly fromQemu?: (message: WireMessage, port: WirePort) => void;
}

/** Makes the mutation of a new connection, so that no state leaks from one case to the next. */
export type WireMutationFactory = () => WireMutation;

/** Layers mutations: commands pass the first one first, what QEMU sends passes it last. */
export function composeMutations(...layers: readonly WireMutation[]): WireMutation {
  return layers.reduceRight<WireMutation>((inner, outer) => pair(outer, inner), {});
}

function pair(outer: WireMutation, inner: WireMutation): WireMutation {
  function down(message: WireMessage, port: WirePort): void {
    const ahead: WirePort = {
      forward: (next) => intoInner(next, port),
      back: port.back,
    };
    if (outer.toQemu) outer.toQemu(message, ahead);
    else ahead.forward(message);
  }
  function intoInner(message: WireMessage, port: WirePort): void {
    const ahead: WirePort = {
      forward: port.forward,
      back: (answer) => outOfOuter(answer, { forward: port.back, back: port.forward }),
    };
    if (inner.toQemu) inner.toQemu(message, ahead);
    else ahead.forward(message);
  }
  function up(message: WireMessage, port: WirePort): void {
    const ahead: WirePort = {
      forward: (next) => outOfOuter(next, port),
      back: port.back,
    };
    if (inner.fromQemu) inner.fromQemu(message, ahead);
    else ahead.forward(message);
  }
  function outOfOuter(message: WireMessage, port: WirePort): void {
    const ahead: WirePort = {
      forward: port.forward,
      back: (command) => intoInner(command, { forward: port.back, back: port.forward }),
    };
    if (outer.fromQemu) outer.fromQemu(message, ahead);
    else ahead.forward(message);
  }
  return { toQemu: down, fromQemu: up };
}

/** The object at `member`, or an empty one. */
export function objectAt(message: WireMessage, member: string): WireMessage {
  const value = message[member];
  return isObject(value) ? value : {};
}

/** Whether a value is a JSON object. */
export function isObject(value: WireValue | undefined): value is WireMessage {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a command's reply is an array of objects, as the query commands give. */
export function isObjectList(value: WireValue | undefined): value is readonly WireMessage[] {
  return Array.isArray(value) && value.every((item) => isObject(item));
}
