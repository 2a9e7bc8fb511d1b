/** QEMUs that lose the words or the class of an error, or the id of a reply. */
import type { Canary } from '../../canary.ts';
import { errorRows } from '../../contracts/qmp/errors.ts';
import { protocolRows } from '../../contracts/qmp/protocol.ts';
import { onEvent } from '../../mutations.ts';
import { alterErrorClass, alterEvent, doubleEvent, loseErrorText } from '../../stream-mutations.ts';
import { isObject, objectAt, type WireMutation } from '../../wire.ts';

const name = (contract: string) => contract.slice('qmp/'.length).replaceAll('/', '-');

const errors: readonly Canary[] = errorRows.flatMap(({ id }) => [
  {
    id: `${name(id)}-text-lost`,
    contract: id,
    title: 'Errors lose their text',
    wire: loseErrorText,
  },
  {
    id: `${name(id)}-class-altered`,
    contract: id,
    title: 'Errors have another class',
    wire: alterErrorClass,
  },
]);

const replies: readonly Canary[] = protocolRows.map(({ id, replies: expected }) => {
  const hasError = expected.some((reply) => isObject(reply.error));
  return hasError
    ? { id: `${name(id)}-text-lost`, contract: id, title: 'Errors lose their text', wire: loseErrorText }
    : { id: `${name(id)}-id-lost`, contract: id, title: 'Replies lose their id', wire: loseId };
});

/** The suite's own commands keep theirs: without them nothing could be asked. */
function loseId(): WireMutation {
  return {
    fromQemu(message, port) {
      const isOwn = typeof message.id === 'string' && /^c\d+$/.test(message.id);
      port.forward('id' in message && !isOwn ? { ...message, id: 'lost' } : message);
    },
  };
}

/** Canaries for refusals and for the protocol. */
export const textCanaries: readonly Canary[] = [
  ...errors,
  ...replies,
  {
    id: 'greeting-without-version',
    contract: 'qmp/protocol/greeting',
    title: 'The greeting does not tell the version',
    wire: () => ({
      fromQemu: (message, port) =>
        port.forward(isObject(message.QMP) ? { QMP: { ...objectAt(message, 'QMP'), version: {} } } : message),
    }),
  },
  {
    id: 'negotiation-not-needed',
    contract: 'qmp/protocol/negotiation-per-connection',
    title: 'Commands are answered before the negotiation',
    wire: () => ({
      fromQemu: (message, port) =>
        port.forward(isObject(message.error) ? { return: {}, id: message.id ?? null } : message),
    }),
  },
  {
    id: 'stop-announced-twice',
    contract: 'qmp/protocol/stop-event-first',
    title: 'STOP comes twice',
    wire: () => doubleEvent('STOP'),
  },
  {
    id: 'shutdown-without-reason',
    contract: 'qmp/protocol/quit',
    title: 'SHUTDOWN does not tell its reason',
    wire: () => alterEvent('SHUTDOWN', ({ guest = false }) => ({ guest })),
  },
  {
    id: 'shutdown-not-announced',
    contract: 'qmp/protocol/quit',
    title: 'SHUTDOWN does not come',
    wire: () => onEvent('SHUTDOWN', () => undefined),
  },
];
