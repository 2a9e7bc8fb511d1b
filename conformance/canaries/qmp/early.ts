/** Early QEMUs that do half of what they are asked for. */
import type { Canary } from '../../canary.ts';
import { earlyContracts } from '../../contracts/qmp/early.ts';
import { alterEntries, alterReply, answerCommand } from '../../mutations.ts';
import {
  alterErrorClass,
  doubleEvent,
  dropEvent,
  loseErrorText,
  renameEvent,
} from '../../stream-mutations.ts';
import { isObject, isObjectList, objectAt, type WireMessage, type WireMutation } from '../../wire.ts';

/** A reopening that succeeds and does nothing, whatever its vendor calls it. */
const answerReopen = (): WireMutation => ({
  toQemu: (message, port) => {
    const isMeant = String(message.execute).endsWith('_drive-reopen');
    if (isMeant) port.back({ return: {}, id: message.id ?? null });
    else port.forward(message);
  },
});

type Break = readonly [contract: string, id: string, title: string, wire: NonNullable<Canary['wire']>];

const nothing = (command: string) => () => answerCommand(command, () => ({}));

/** query-block shows something else of every medium. */
const inserted = (alter: (medium: WireMessage) => WireMessage): WireMutation =>
  alterReply('query-block', (drives) =>
    isObjectList(drives)
      ? drives.map((drive) =>
          isObject(drive.inserted) ? { ...drive, inserted: alter(objectAt(drive, 'inserted')) } : drive,
        )
      : drives,
  );

const BREAKS: readonly Break[] = [
  ['negotiation', 'class', 'Errors have another class', alterErrorClass],
  ['stream', 'lost', 'A stream ends without an event', () => dropEvent('BLOCK_JOB_COMPLETED')],
  ['stream', 'doubled', 'A stream ends twice', () => doubleEvent('BLOCK_JOB_COMPLETED')],
  ['stream', 'nothing', 'block-stream succeeds and does nothing', nothing('block-stream')],
  [
    'stream-cancelled',
    'swapped',
    'A cancelled stream has COMPLETED',
    () => renameEvent('BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED'),
  ],
  [
    'stream-cancelled',
    'speed',
    'query-block-jobs shows no speed',
    () => alterEntries('query-block-jobs', (job) => ({ ...job, speed: 0 })),
  ],
  [
    'snapshot-sync',
    'nothing',
    'blockdev-snapshot-sync succeeds and does nothing',
    nothing('blockdev-snapshot-sync'),
  ],
  ['transaction', 'nothing', 'transaction succeeds and does nothing', nothing('transaction')],
  ['change-and-eject', 'change', 'change succeeds and does nothing', nothing('change')],
  ['change-and-eject', 'eject', 'eject succeeds and does nothing', nothing('eject')],
  ['stop-and-cont', 'doubled', 'STOP comes twice', () => doubleEvent('STOP')],
  ['mirror-completed', 'ready-twice', 'READY comes twice', () => doubleEvent('BLOCK_JOB_READY')],
  [
    'mirror-completed',
    'nothing',
    'block-job-complete succeeds and does nothing',
    nothing('block-job-complete'),
  ],
  [
    'mirror-cancelled-ready',
    'swapped',
    'A READY mirror that is cancelled says so',
    () => renameEvent('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'),
  ],
  ['mirror-too-early', 'accepted', 'A copy can be completed too early', nothing('block-job-complete')],
  ['mirror-too-early', 'pause', 'block-job-pause succeeds and does nothing', nothing('block-job-pause')],
  ['io-throttle', 'nothing', 'Limits are not kept', nothing('block_set_io_throttle')],
  [
    'io-throttle',
    'hidden',
    'query-block shows no limits',
    () => inserted((medium) => ({ ...medium, iops_rd: 0 })),
  ],
  ['reopen', 'nothing', 'The drive is not reopened', answerReopen],
  [
    'reopen-too-early',
    'event',
    'A mirror that is lost has COMPLETED',
    () => renameEvent('BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED'),
  ],
  ['reopen-too-early', 'accepted', 'A drive can be reopened too early', answerReopen],
  [
    'copy-cancelled-synced',
    'swapped',
    'A synced mirror that is cancelled says so',
    () => renameEvent('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'),
  ],
  ['reopen-without-job', 'accepted', 'A file that is not there can be opened', answerReopen],
  [
    'reopen',
    'event',
    'The end of the copy has another name',
    () => renameEvent('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'),
  ],
];

const REFUSED = 'refused/';

const refusals: readonly Break[] = earlyContracts
  .map(({ id }) => id.slice('qmp/early/'.length))
  .filter((id) => id.startsWith(REFUSED))
  .flatMap((id): readonly Break[] => [
    [id, 'text-lost', 'Errors lose their text', loseErrorText],
    [id, 'class-altered', 'Errors have another class', alterErrorClass],
  ]);

/** Canaries for the early contracts; they are planted where those are kept. */
export const earlyCanaries: readonly Canary[] = [...BREAKS, ...refusals].map(
  ([contract, id, title, wire]) => ({
    id: `early-${contract.replace(REFUSED, '')}-${id}`,
    contract: `qmp/early/${contract}`,
    title,
    wire,
  }),
);
