/** The words that canaries are written in: each makes one small mutation of a QMP stream. */
import type { WireMessage, WireMutation, WirePort, WireValue } from './wire.ts';
import { composeMutations, isObject, isObjectList, objectAt } from './wire.ts';

/** Rewrites the arguments of one command; `undefined` leaves them as they are. */
export function alterCommand(
  execute: string,
  alter: (args: WireMessage) => WireMessage | undefined,
): WireMutation {
  return onCommand(execute, (message, port) => {
    const altered = alter(objectAt(message, 'arguments'));
    port.forward(altered ? { ...message, arguments: altered } : message);
  });
}

/**
 * Sends another command in one's place, where `replacement` gives one; the reply goes to the driver as if it were the
 * asked one's.
 */
export function replaceCommand(
  execute: string,
  replacement: (
    args: WireMessage,
  ) => { readonly execute: string; readonly arguments: WireMessage } | undefined,
): WireMutation {
  return onCommand(execute, (message, port) =>
    port.forward({ ...message, ...replacement(objectAt(message, 'arguments')) }),
  );
}

/** Answers a command without QEMU ever seeing it, where `answer` gives something. */
export function answerCommand(
  execute: string,
  answer: (args: WireMessage) => WireValue | undefined,
): WireMutation {
  return onCommand(execute, (message, port) => {
    const value = answer(objectAt(message, 'arguments'));
    if (value === undefined) port.forward(message);
    else port.back({ return: value, ...(message.id === undefined ? {} : { id: message.id }) });
  });
}

/** Rewrites what a command returned; errors pass. */
export function alterReply(execute: string, alter: (value: WireValue) => WireValue): WireMutation {
  const asked = new Set<string>();
  return {
    toQemu(message, port) {
      if (message.execute === execute) asked.add(JSON.stringify(message.id));
      port.forward(message);
    },
    fromQemu(message, port) {
      const isReply = 'return' in message && asked.delete(JSON.stringify(message.id));
      const value = message.return;
      port.forward(isReply && value !== undefined ? { ...message, return: alter(value) } : message);
    },
  };
}

/** Rewrites every entry of a query's list. */
export function alterEntries(execute: string, alter: (entry: WireMessage) => WireMessage): WireMutation {
  return alterReply(execute, (value) => (isObjectList(value) ? value.map(alter) : value));
}

/** Handles the events of one name; the others pass. */
export function onEvent(
  name: string,
  handle: (data: WireMessage, message: WireMessage, port: WirePort) => void,
): WireMutation {
  return {
    fromQemu(message, port) {
      if (message.event === name) handle(objectAt(message, 'data'), message, port);
      else port.forward(message);
    },
  };
}

/** Puts a further JOB_STATUS_CHANGE behind every one of a status, for the same job. */
export function followStatus(
  status: string,
  next: string,
  when: (jobId: WireValue | undefined) => boolean = () => true,
): WireMutation {
  return onEvent('JOB_STATUS_CHANGE', (data, message, port) => {
    port.forward(message);
    if (data.status === status && when(data.id))
      port.forward({ ...message, data: { ...data, status: next } });
  });
}

/**
 * Sends a command of its own when an event matches; its reply is swallowed. The driver never learns of it.
 */
export function commandOnEvent(
  name: string,
  command: (data: WireMessage) => { readonly execute: string; readonly arguments: WireMessage } | undefined,
): WireMutation {
  let sent = 0;
  const own = new Set<string>();
  const ask = onEvent(name, (data, message, port) => {
    port.forward(message);
    const next = command(data);
    if (!next) return;
    const id = `canary-${++sent}`;
    own.add(id);
    port.back({ ...next, id });
  });
  const swallow: WireMutation = {
    fromQemu(message, port) {
      if (typeof message.id !== 'string' || !own.delete(message.id)) port.forward(message);
    },
  };
  return composeMutations(ask, swallow);
}

/** Which jobs run, as seen on the wire: fed by the events that pass through it. */
export function jobsSeen(): {
  readonly mutation: WireMutation;
  status(jobId: WireValue): string | undefined;
  any(): boolean;
} {
  const statuses = new Map<WireValue, string>();
  const mutation = onEvent('JOB_STATUS_CHANGE', (data, message, port) => {
    if (typeof data.id === 'string' && typeof data.status === 'string' && !data.id.startsWith('create-')) {
      if (data.status === 'null' || data.status === 'concluded') statuses.delete(data.id);
      else statuses.set(data.id, data.status);
    }
    port.forward(message);
  });
  return { mutation, status: (jobId) => statuses.get(jobId), any: () => statuses.size > 0 };
}

/** The text of a guest's write on the wire (HMP `qemu-io ... "write -P BYTE OFFSET LENGTH"`), if this is one. */
export function guestWriteText(args: WireMessage): string | undefined {
  const line = args['command-line'];
  return typeof line === 'string' && /^qemu-io .*\bwrite\b/.test(line) ? line : undefined;
}

function onCommand(execute: string, handle: (message: WireMessage, port: WirePort) => void): WireMutation {
  return {
    toQemu(message, port) {
      if (isObject(message) && message.execute === execute) handle(message, port);
      else port.forward(message);
    },
  };
}
