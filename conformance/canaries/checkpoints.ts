/** Checkpoints that record nothing, or lose what they have recorded. */
import type { DomainCheckpoint } from '../../src/index.ts';
import { brokenDomain, type Canary, overlay } from '../canary.ts';
import { answerCommand } from '../mutations.ts';
import type { WireMessage, WireMutation } from '../wire.ts';

const isObject = (value: unknown): value is WireMessage =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Transactions lose their actions of one kind; one that has no other succeeds without being sent. */
const withoutActions = (type: RegExp) => (): WireMutation => ({
  toQemu(message, port) {
    const args = isObject(message) && message.execute === 'transaction' ? message.arguments : undefined;
    const actions = isObject(args) && Array.isArray(args.actions) ? args.actions : undefined;
    if (!isObject(message) || !actions) return port.forward(message);
    const kept = actions.filter((action) => !isObject(action) || !type.test(String(action.type)));
    if (kept.length === actions.length) return port.forward(message);
    if (kept.length === 0) return port.back({ return: {}, id: message.id ?? null });
    port.forward({ ...message, arguments: { actions: kept } });
  },
});

/** Deletions that are refused look like a success. */
function deleting(id: string, contract: string, who: string): Canary {
  const wrap = (checkpoint: DomainCheckpoint) =>
    overlay(checkpoint, { delete: async (flags) => checkpoint.delete(flags).catch(() => undefined) });
  return brokenDomain(id, contract, `${who} deletes checkpoints`, (domain) => ({
    checkpointCreateXML: async (xml, flags) => wrap(await domain.checkpointCreateXML(xml, flags)),
    checkpointLookupByName: async (name, flags) => wrap(await domain.checkpointLookupByName(name, flags)),
  }));
}

/** Canaries of `api/checkpoint-*`. */
export const checkpointCanaries: readonly Canary[] = [
  {
    id: 'checkpoint-without-bitmap',
    contract: 'api/checkpoint-records',
    title: 'Transactions succeed and do nothing',
    wire: () => answerCommand('transaction', () => ({})),
  },
  brokenDomain('checkpoint-of-one-disk', 'checkpoint-of-every-disk', 'Only vda is recorded', (domain) => ({
    checkpointCreateXML: (xml, flags) =>
      domain.checkpointCreateXML(
        xml.replace(
          '<domaincheckpoint/>',
          "<domaincheckpoint><disks><disk name='vda'/></disks></domaincheckpoint>",
        ),
        flags,
      ),
  })),
  {
    id: 'checkpoint-lost-in-a-pivot',
    contract: 'api/checkpoint-follows-a-pivot',
    title: 'Bitmaps are not merged',
    wire: withoutActions(/^block-dirty-bitmap-merge$/),
  },
  {
    id: 'checkpoint-lost-between-images',
    contract: 'api/checkpoint-follows-images',
    title: 'Bitmaps are not merged',
    wire: withoutActions(/^block-dirty-bitmap-merge$/),
  },
  deleting('checkpoint-deleted-while-off', 'checkpoints-of-a-domain-that-is-off', 'A domain that is off'),
  deleting(
    'checkpoint-deleted-both-ways',
    'checkpoint-deleted',
    'One that is asked for its children in two ways',
  ),
  {
    id: 'checkpoint-stays-below',
    contract: 'api/checkpoint-of-a-chain-deleted',
    title: 'Bitmaps are not removed',
    wire: withoutActions(/^block-dirty-bitmap-remove$/),
  },
];
