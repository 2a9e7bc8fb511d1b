/**
 * The rows of the coverage table, and how each is broken alone: a command that does nothing, an event that is lost, a
 * flag that is ignored. Whether a contract judges a row is what it says when exactly that is broken.
 */
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobInfoFlags,
  BlockJobSetSpeedFlags,
  BlockPullFlags,
  BlockRebaseFlags,
  BlockResizeFlags,
  CheckpointCreateFlags,
  CheckpointDeleteFlags,
  CheckpointListFlags,
  CheckpointXMLFlags,
  type Connection,
  DeviceModifyFlags,
  type Domain,
  type DomainCheckpoint,
  DomainCreateFlags,
  DomainDestroyFlags,
  DomainModificationImpact,
  DomainSaveRestoreFlags,
  type DomainSnapshot,
  DomainUndefineFlags,
  DomainXMLFlags,
  EventId,
  MonitorCommandFlags,
  SnapshotCreateFlags,
  SnapshotDeleteFlags,
  SnapshotListFlags,
  SnapshotRevertFlags,
} from '../src/index.ts';
import { type Canary, overlay, withDomains } from './canary.ts';
import { answerCommand } from './mutations.ts';
import { dropEvent } from './stream-mutations.ts';

/** One thing of the block-job family, by the name it has where it belongs. */
export interface Row {
  readonly kind: 'QMP command' | 'QMP event' | 'call' | 'flag' | 'event';
  /** `block-stream`, `BLOCK_JOB_READY`, `blockPull`, `blockPull BANDWIDTH_BYTES`, `BLOCK_JOB_2`. */
  readonly name: string;
}

/** How a call of the API is broken. */
interface Call {
  readonly flags?: Readonly<Record<string, number>>;
  /** Which argument its flags are. */
  readonly at?: number;
  /** What a call that does nothing gives back; undefined when left out. */
  readonly nothing?: unknown;
}

/** The calls of a domain that belong to the family or stand around it, in the order of the table. */
export const DOMAIN_CALLS: Readonly<Partial<Record<keyof Domain, Call>>> = {
  blockPull: { flags: BlockPullFlags, at: 2 },
  blockRebase: { flags: BlockRebaseFlags, at: 3 },
  blockCopy: { flags: BlockCopyFlags, at: 3 },
  blockCommit: { flags: BlockCommitFlags, at: 4 },
  blockJobAbort: { flags: BlockJobAbortFlags, at: 1 },
  getBlockJobInfo: { flags: BlockJobInfoFlags, at: 1, nothing: null },
  blockJobSetSpeed: { flags: BlockJobSetSpeedFlags, at: 2 },
  blockResize: { flags: BlockResizeFlags, at: 2 },
  setBlockThreshold: {},
  setBlockIoTune: { flags: DomainModificationImpact, at: 2 },
  getBlockIoTune: { flags: DomainModificationImpact, at: 1, nothing: {} },
  attachDeviceFlags: { flags: DeviceModifyFlags, at: 1 },
  detachDeviceFlags: { flags: DeviceModifyFlags, at: 1 },
  updateDeviceFlags: { flags: DeviceModifyFlags, at: 1 },
  snapshotCreateXML: { flags: SnapshotCreateFlags, at: 1 },
  listAllSnapshots: { flags: SnapshotListFlags, at: 0, nothing: [] },
  snapshotNum: { nothing: 0 },
  snapshotLookupByName: {},
  snapshotCurrent: {},
  hasCurrentSnapshot: { nothing: false },
  revertToSnapshot: { flags: SnapshotRevertFlags, at: 1 },
  checkpointCreateXML: { flags: CheckpointCreateFlags, at: 1 },
  listAllCheckpoints: { flags: CheckpointListFlags, at: 0, nothing: [] },
  checkpointLookupByName: {},
  save: { flags: DomainSaveRestoreFlags, at: 1 },
  managedSave: { flags: DomainSaveRestoreFlags, at: 0 },
  hasManagedSaveImage: { nothing: false },
  managedSaveRemove: {},
  create: { flags: DomainCreateFlags, at: 0 },
  destroy: { flags: DomainDestroyFlags, at: 0 },
  shutdown: {},
  reboot: {},
  reset: {},
  suspend: {},
  resume: {},
  undefine: { flags: DomainUndefineFlags, at: 0 },
  getID: { nothing: -1 },
  isActive: { nothing: false },
  isPersistent: { nothing: false },
  getState: { nothing: { state: 0, reason: 0 } },
  getAutostart: { nothing: false },
  setAutostart: {},
  getXMLDesc: { flags: DomainXMLFlags, at: 0, nothing: '' },
  coreDump: {},
  migrateToURI: {},
  backupBegin: {},
  rename: {},
  qemuMonitorCommand: { flags: MonitorCommandFlags, at: 1, nothing: '' },
};

/** The calls of a snapshot, as `snapshot.NAME` in the table. */
export const SNAPSHOT_CALLS: Readonly<Partial<Record<keyof DomainSnapshot, Call>>> = {
  getXMLDesc: { nothing: '' },
  getParent: {},
  listAllChildren: { nothing: [] },
  isCurrent: { nothing: false },
  hasMetadata: { nothing: false },
  delete: { flags: SnapshotDeleteFlags, at: 0 },
};

/** The calls of a checkpoint, as `checkpoint.NAME` in the table. */
export const CHECKPOINT_CALLS: Readonly<Partial<Record<keyof DomainCheckpoint, Call>>> = {
  getXMLDesc: { flags: CheckpointXMLFlags, at: 0, nothing: '' },
  getParent: {},
  listAllChildren: { nothing: [] },
  delete: { flags: CheckpointDeleteFlags, at: 0 },
};

/** Whose calls a name with this in front of it is about. */
const HOLDERS = { 'snapshot.': SNAPSHOT_CALLS, 'checkpoint.': CHECKPOINT_CALLS } as const;
type Holder = keyof typeof HOLDERS;
const holderOf = (name: string): Holder | undefined =>
  (Object.keys(HOLDERS) as Holder[]).find((prefix) => name.startsWith(prefix));

/** Rows of the API: calls, each followed by its flags, and events. */
export function apiRows(): Row[] {
  const calls = [
    ...Object.entries(DOMAIN_CALLS),
    ...Object.entries(HOLDERS).flatMap(([prefix, table]) =>
      Object.entries(table).map(([name, call]) => [`${prefix}${name}`, call] as const),
    ),
  ];
  return [
    ...calls.flatMap(([name, { flags = {} }]): Row[] => [
      { kind: 'call', name },
      ...Object.entries(flags)
        .filter(([, value]) => value !== 0)
        .map(([flag]): Row => ({ kind: 'flag', name: `${name} ${flag}` })),
    ]),
    ...Object.keys(EventId).map((name): Row => ({ kind: 'event', name })),
  ];
}

/** What breaks a row, and nothing else. @throws Error for a name that is none */
export function breakOf({ kind, name }: Row): Pick<Canary, 'title' | 'wire' | 'api'> {
  switch (kind) {
    case 'QMP command': {
      const nothing = name.startsWith('query-') ? [] : {};
      return { title: `${name} succeeds and does nothing`, wire: () => answerCommand(name, () => nothing) };
    }
    case 'QMP event':
      return { title: `${name} is lost`, wire: () => dropEvent(name) };
    case 'call': {
      const { nothing } = callNamed(name);
      return {
        title: `${name} succeeds and does nothing`,
        api: replacing(name, (_, isSync) => () => (isSync ? nothing : Promise.resolve(nothing))),
      };
    }
    case 'flag': {
      const [call = '', flag = ''] = name.split(' ');
      const { flags = {}, at = 0 } = callNamed(call);
      const mask = flags[flag];
      if (mask === undefined) throw new Error(`no flag ${flag} of ${call}`);
      const without = (args: readonly unknown[]) =>
        args.map((arg, index) => (index === at ? Number(arg) & ~mask : arg));
      return {
        title: `${call} ignores ${flag}`,
        api: replacing(
          call,
          (inner) =>
            (...args) =>
              inner(...without(args)),
        ),
      };
    }
    case 'event':
      return { title: `${name} is lost`, api: (connection) => withoutEvent(connection, name) };
  }
}

function callNamed(name: string): Call {
  const holder = holderOf(name);
  const call = holder
    ? Reflect.get(HOLDERS[holder], name.slice(holder.length))
    : Reflect.get(DOMAIN_CALLS, name);
  if (!call) throw new Error(`no call ${name}`);
  return call;
}

type AnyCall = (...args: unknown[]) => unknown;
/** Calls of a domain that give an answer and no promise of one. */
const SYNCHRONOUS: readonly string[] = ['getID', 'isActive', 'isPersistent'] satisfies (keyof Domain)[];

/** A connection on which one call of every domain, or of every snapshot, is another. */
function replacing(
  name: string,
  other: (inner: AnyCall, isSynchronous: boolean) => AnyCall,
): NonNullable<Canary['api']> {
  const inOne = <T extends object>(holder: T, call: string): Partial<T> => {
    const inner: unknown = Reflect.get(holder, call, holder);
    if (typeof inner !== 'function') return {};
    const replaced = other((...args) => inner.apply(holder, args), SYNCHRONOUS.includes(call));
    return { [call]: replaced } as Partial<T>;
  };
  const holder = holderOf(name);
  if (!holder) return (connection) => withDomains(connection, (each) => inOne(each, name));
  const call = name.slice(holder.length);
  const wrap = <T extends object>(held: T): T => overlay(held, inOne(held, call));
  return (connection) =>
    withDomains(connection, (domain) =>
      holder === 'snapshot.' ? withSnapshots(domain, wrap) : withCheckpoints(domain, wrap),
    );
}

function withSnapshots(domain: Domain, wrap: (snapshot: DomainSnapshot) => DomainSnapshot): Partial<Domain> {
  return {
    snapshotCreateXML: async (xml, flags) => wrap(await domain.snapshotCreateXML(xml, flags)),
    snapshotLookupByName: async (wanted, flags) => wrap(await domain.snapshotLookupByName(wanted, flags)),
    snapshotCurrent: async (flags) => wrap(await domain.snapshotCurrent(flags)),
    listAllSnapshots: async (flags) => (await domain.listAllSnapshots(flags)).map(wrap),
  };
}

function withCheckpoints(
  domain: Domain,
  wrap: (checkpoint: DomainCheckpoint) => DomainCheckpoint,
): Partial<Domain> {
  return {
    checkpointCreateXML: async (xml, flags) => wrap(await domain.checkpointCreateXML(xml, flags)),
    checkpointLookupByName: async (wanted, flags) => wrap(await domain.checkpointLookupByName(wanted, flags)),
    listAllCheckpoints: async (flags) => (await domain.listAllCheckpoints(flags)).map(wrap),
  };
}

function withoutEvent(connection: Connection, name: string): Connection {
  const lost = Reflect.get(EventId, name);
  return overlay(connection, {
    domainEventRegister: (id, domain, callback) =>
      connection.domainEventRegister(id, domain, id === lost ? () => undefined : callback),
  });
}
