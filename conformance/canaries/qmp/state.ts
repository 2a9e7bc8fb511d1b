/** QEMUs that lie in queries, leave things behind, or copy wrong. */
import type { Canary } from '../../canary.ts';
import { graphContracts } from '../../contracts/qmp/graph.ts';
import { queryContracts } from '../../contracts/qmp/queries.ts';
import { alterCommand, alterEntries, alterReply, commandOnEvent } from '../../mutations.ts';
import { alterEvent } from '../../stream-mutations.ts';
import { isObjectList, type WireMessage, type WireMutation } from '../../wire.ts';

const without = (object: WireMessage, member: string): WireMessage =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== member));

const ids = (contracts: readonly { readonly id: string }[], prefix: string): string[] =>
  contracts.map(({ id }) => id).filter((id) => id.startsWith(prefix));

const short = (id: string): string => id.slice('qmp/'.length).replaceAll('/', '-');

/** The event of a contract about an event's members. */
const EVENTS: { readonly [contract: string]: readonly [event: string, member: string] } = {
  'qmp/event/block-job-ready-members': ['BLOCK_JOB_READY', 'speed'],
  'qmp/event/block-job-completed-members': ['BLOCK_JOB_COMPLETED', 'len'],
  'qmp/event/block-job-pending-members': ['BLOCK_JOB_PENDING', 'type'],
  'qmp/event/cancelled-members': ['BLOCK_JOB_CANCELLED', 'offset'],
};

/** One cluster is wrong once the job has ended. */
function copyOneClusterWrong(node: string): WireMutation {
  return commandOnEvent('BLOCK_JOB_COMPLETED', () => ({
    execute: 'human-monitor-command',
    arguments: { 'command-line': `qemu-io ${node} "write -P 0x66 65536 65536"` },
  }));
}

/** A node that is not there any more, or never was, is shown after the first job has been seen. */
function leaveNodeBehind(): WireMutation {
  return alterReply('query-named-block-nodes', (nodes) =>
    isObjectList(nodes) ? [...nodes, { ...nodes[0], 'node-name': 'left-over' }] : nodes,
  );
}

/** Canaries for queries, events, graph and data. */
export const stateCanaries: readonly Canary[] = [
  ...ids(queryContracts, 'qmp/query/block-job-in-').flatMap((contract) => [
    {
      id: `${short(contract)}-ready-flipped`,
      contract,
      title: 'query-block-jobs shows ready as its opposite',
      wire: () => alterEntries('query-block-jobs', (job) => ({ ...job, ready: job.ready !== true })),
    },
    {
      id: `${short(contract)}-paused-flipped`,
      contract,
      title: 'query-block-jobs shows paused as its opposite',
      wire: () => alterEntries('query-block-jobs', (job) => ({ ...job, paused: job.paused !== true })),
    },
  ]),
  ...Object.entries(EVENTS).map(([contract, [event, member]]) => ({
    id: `${short(contract)}-lost`,
    contract,
    title: `${event} has lost its ${member}`,
    wire: () => alterEvent(event, (data) => without(data, member)),
  })),
  {
    id: 'status-change-says-more',
    contract: 'qmp/event/job-status-change-members',
    title: 'JOB_STATUS_CHANGE tells something else as well',
    wire: () => alterEvent('JOB_STATUS_CHANGE', (data) => ({ ...data, progress: 0 })),
  },
  {
    id: 'jobs-disagree',
    contract: 'qmp/query/jobs-agree',
    title: 'query-jobs shows less progress than query-block-jobs',
    wire: () => alterEntries('query-jobs', (job) => ({ ...job, 'current-progress': 0 })),
  },
  ...['failure-kept', 'cancel-kept'].map((contract) => ({
    id: `${contract}-error-lost`,
    contract: `qmp/query/${contract}`,
    title: 'query-jobs loses the error of a concluded job',
    wire: () => alterEntries('query-jobs', (job) => without(job, 'error')),
  })),
  {
    id: 'failure-looks-like-success',
    contract: 'qmp/query/failure-kept',
    title: 'BLOCK_JOB_COMPLETED loses its error',
    wire: () => alterEvent('BLOCK_JOB_COMPLETED', (data) => without(data, 'error')),
  },
  {
    id: 'create-in-block-jobs',
    contract: 'qmp/query/create-is-no-block-job',
    title: 'query-block-jobs shows a create job',
    wire: () => alterReply('query-block-jobs', () => [{ device: 'job', type: 'create' }]),
  },
  ...ids(graphContracts, 'qmp/graph/nothing-left-').flatMap((contract) => [
    { id: `${short(contract)}-node`, contract, title: 'A node is left behind', wire: leaveNodeBehind },
    {
      id: `${short(contract)}-job`,
      contract,
      title: 'A job is left behind: it is not dismissed',
      wire: () => ({
        toQemu: (message: WireMessage, port: Parameters<NonNullable<WireMutation['toQemu']>>[1]) =>
          message.execute === 'job-dismiss'
            ? port.back({ return: {}, id: message.id ?? null })
            : port.forward(message),
      }),
    },
  ]),
  ...['filter-named', 'refused-start-leaves-nothing'].map((contract) => ({
    id: `${contract}-node-left`,
    contract: `qmp/graph/${contract}`,
    title: 'A node is left behind',
    wire: leaveNodeBehind,
  })),
  {
    id: 'stream-keeps-backing',
    contract: 'qmp/graph/stream-cuts-chain',
    title: 'A stream stops above the base',
    wire: () => alterCommand('block-stream', (args) => ({ ...args, 'base-node': 'base' })),
  },
  {
    id: 'commit-into-wrong-image',
    contract: 'qmp/graph/commit-drops-middle',
    title: 'The whole chain is committed instead of its middle',
    wire: () => alterCommand('block-commit', (args) => without(without(args, 'top-node'), 'base-node')),
  },
  ...['mirror-ends-equal', 'backup-is-a-moment'].map((contract) => ({
    id: `${contract}-cluster-wrong`,
    contract: `qmp/data/${contract}`,
    title: 'One cluster of the target is wrong',
    wire: () => copyOneClusterWrong('target'),
  })),
];
