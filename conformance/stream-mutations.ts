/** Mutations of a QMP stream that need no knowledge of what is asked: of events, errors, and verbs by job state. */
import { onEvent } from './mutations.ts';
import {
  composeMutations,
  isObject,
  objectAt,
  type WireMessage,
  type WireMutation,
  type WirePort,
  type WireValue,
} from './wire.ts';

/** An event, by name or, for JOB_STATUS_CHANGE, by `J:` and the status. */
export type EventName = string;

/** Whether a message is such an event. */
export function isEvent(message: WireMessage, name: EventName): boolean {
  if (!name.startsWith('J:')) return message.event === name;
  return message.event === 'JOB_STATUS_CHANGE' && objectAt(message, 'data').status === name.slice(2);
}

function onNamed(name: EventName, handle: (message: WireMessage, port: WirePort) => void): WireMutation {
  return {
    fromQemu(message, port) {
      if (isEvent(message, name)) handle(message, port);
      else port.forward(message);
    },
  };
}

/** Loses every event of a name. */
export function dropEvent(name: EventName): WireMutation {
  return onNamed(name, () => undefined);
}

/** Sends every event of a name twice. */
export function doubleEvent(name: EventName): WireMutation {
  return onNamed(name, (message, port) => {
    port.forward(message);
    port.forward(message);
  });
}

/** Sends every event of a name behind the event that follows it. */
export function delayEvent(name: EventName): WireMutation {
  const held: WireMessage[] = [];
  return {
    fromQemu(message, port) {
      if (isEvent(message, name)) {
        held.push(message);
        return;
      }
      port.forward(message);
      if (message.event !== undefined) for (const late of held.splice(0)) port.forward(late);
    },
  };
}

/** Sends another event in the place of one. */
export function renameEvent(name: string, other: string): WireMutation {
  return onEvent(name, (_, message, port) => port.forward({ ...message, event: other }));
}

/** Rewrites the data of every event of a name. */
export function alterEvent(name: EventName, alter: (data: WireMessage) => WireMessage): WireMutation {
  return onNamed(name, (message, port) =>
    port.forward({ ...message, data: alter(objectAt(message, 'data')) }),
  );
}

/** Rewrites every error. */
export function alterErrors(alter: (error: WireMessage) => WireMessage): WireMutation {
  return {
    fromQemu(message, port) {
      port.forward(isObject(message.error) ? { ...message, error: alter(message.error) } : message);
    },
  };
}

/** Errors keep their class and lose their text. */
export function loseErrorText(): WireMutation {
  return alterErrors((error) => ({ ...error, desc: 'An error has occurred' }));
}

/** Errors keep their text and lose their class. */
export function alterErrorClass(): WireMutation {
  return alterErrors((error) => ({
    ...error,
    class: error.class === 'GenericError' ? 'CommandNotFound' : 'GenericError',
  }));
}

/** Answers a command in QEMU's place while its job is in a state; the job is named by `device` or `id`. */
function answerInState(execute: string, state: string, answer: WireMessage): WireMutation {
  const statuses = new Map<WireValue, WireValue>();
  const note = onEvent('JOB_STATUS_CHANGE', (data, message, port) => {
    if (data.id !== undefined && data.status !== undefined) statuses.set(data.id, data.status);
    port.forward(message);
  });
  const reply: WireMutation = {
    toQemu(message, port) {
      const { device, id } = objectAt(message, 'arguments');
      const isIt = message.execute === execute && statuses.get(device ?? id ?? null) === state;
      if (!isIt) port.forward(message);
      else port.back({ ...answer, ...(message.id === undefined ? {} : { id: message.id }) });
    },
  };
  return composeMutations(reply, note);
}

/** Refuses a verb in one state, for no reason. */
export function refuseInState(execute: string, state: string): WireMutation {
  return answerInState(execute, state, { error: { class: 'GenericError', desc: 'Not now' } });
}

/** Accepts a verb in one state, and does nothing. */
export function acceptInState(execute: string, state: string): WireMutation {
  return answerInState(execute, state, { return: {} });
}
