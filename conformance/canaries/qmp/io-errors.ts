/** QEMUs that hide an I/O error, tell it wrong, or do not do what its policy says. */
import type { Canary } from '../../canary.ts';
import { guestErrorContracts } from '../../contracts/qmp/guest-errors.ts';
import { ioErrorContracts } from '../../contracts/qmp/io-errors.ts';
import { alterCommand, alterEntries, alterReply } from '../../mutations.ts';
import { alterEvent, delayEvent, doubleEvent, dropEvent, renameEvent } from '../../stream-mutations.ts';
import { isObject, type WireMessage, type WireMutation } from '../../wire.ts';

/** One way to be wrong. */
interface Break {
  readonly name: string;
  readonly title: string;
  readonly wire: () => WireMutation;
}

const without = (object: WireMessage, member: string): WireMessage =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== member));

const otherAction = (data: WireMessage): WireMessage => ({
  ...data,
  action: data.action === 'ignore' ? 'report' : 'ignore',
});

const wrongAction = (event: string): Break => ({
  name: 'action-wrong',
  title: `${event} tells another action than the one that is taken`,
  wire: () => alterEvent(event, otherAction),
});
const lost = (event: string): Break => ({
  name: 'lost',
  title: `${event} is lost`,
  wire: () => dropEvent(event),
});
const doubled = (event: string): Break => ({
  name: 'doubled',
  title: `${event} comes twice`,
  wire: () => doubleEvent(event),
});
const ioStatusHidden = (query: string): Break => ({
  name: 'io-status-hidden',
  title: `${query} shows io-status ok whatever happened`,
  wire: () => alterEntries(query, (entry) => ({ ...entry, 'io-status': 'ok' })),
});
const ERROR_HIDDEN: Break = {
  name: 'error-hidden',
  title: 'The job looks as if it had ended without an error',
  wire: () => alterEntries('query-block-jobs', (job) => without(job, 'error')),
};
const JOB_ERROR_HIDDEN: Break = {
  ...ERROR_HIDDEN,
  wire: () => alterEntries('query-jobs', (job) => without(job, 'error')),
};
const RUNS_ON: Break = {
  name: 'runs-on',
  title: 'query-status says that the machine runs, whatever happened',
  wire: () =>
    alterReply('query-status', (value) =>
      isObject(value) ? { ...value, status: 'running', running: true } : value,
    ),
};
const POLICY_LOST: Break = {
  name: 'policy-lost',
  title: 'The device is plugged without its policy',
  wire: () => alterCommand('device_add', (args) => without(without(args, 'werror'), 'rerror')),
};

/** The contracts that are not rows of a table. */
const SPECIAL: { readonly [id: string]: readonly Break[] } = {
  'qmp/io-error/order-report': [
    {
      name: 'late',
      title: 'BLOCK_JOB_ERROR comes behind the next event',
      wire: () => delayEvent('BLOCK_JOB_ERROR'),
    },
  ],
  'qmp/io-error/resume-without-cure': [lost('BLOCK_JOB_ERROR'), ioStatusHidden('query-block-jobs')],
  'qmp/io-error/ready-stop': [ioStatusHidden('query-block-jobs'), doubled('BLOCK_JOB_READY')],
  'qmp/io-error/ready-report': [JOB_ERROR_HIDDEN],
  'qmp/io-error/ready-force-cancel': [
    {
      name: 'completed',
      title: 'BLOCK_JOB_COMPLETED is sent for BLOCK_JOB_CANCELLED',
      wire: () => renameEvent('BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED'),
    },
  ],
  'qmp/guest-error/cont-without-cure': [lost('BLOCK_IO_ERROR'), doubled('STOP')],
};

function breaksOf(id: string): readonly Break[] {
  const special = SPECIAL[id];
  if (special) return special;
  if (id.startsWith('qmp/guest-error/')) {
    const stops = id.endsWith('-stop') || id.endsWith('-enospc-enospc');
    const event = 'BLOCK_IO_ERROR';
    // Without its policy a device has the default one, with which some rows come out the same.
    const isDefault = /read-eio-report|-enospc$|write-enospc-stop/.test(id);
    return [
      wrongAction(event),
      lost(event),
      ...(stops ? [RUNS_ON] : []),
      ...(isDefault ? [] : [POLICY_LOST]),
    ];
  }
  const event = 'BLOCK_JOB_ERROR';
  const stops = id.endsWith('-stop') || id.endsWith('-enospc-enospc');
  const reports = id.endsWith('-report') || id.endsWith('-eio-enospc');
  return [
    wrongAction(event),
    lost(event),
    doubled(event),
    ...(stops ? [ioStatusHidden('query-block-jobs')] : []),
    ...(reports ? [ERROR_HIDDEN] : []),
  ];
}

/** Canaries for the contracts about I/O errors. */
export const ioErrorCanaries: readonly Canary[] = [...ioErrorContracts, ...guestErrorContracts].flatMap(
  ({ id }) =>
    breaksOf(id).map(({ name, title, wire }) => ({
      id: `${id.slice('qmp/'.length).replaceAll('/', '-')}-${name}`,
      contract: id,
      title,
      wire,
    })),
);
