/** virDomainSave, virDomainManagedSave and what goes with them. */
import { liveDefinition } from '../conf/domain.ts';
import type { HypervisorDriver } from '../driver.ts';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { DomainSaveRestoreFlags, DomainState } from '../flags.ts';
import type { StartModeName } from '../lifecycle.ts';
import type { DomainRecord } from '../record.ts';
import { checkFlags, checkNonNull, noSupport } from './checks.ts';

/** What a saved state remembers besides QEMU's part. */
export interface SavedState {
  readonly xml: string;
  readonly paused: boolean;
}

const has = (flags: number, flag: keyof typeof DomainSaveRestoreFlags): boolean =>
  (flags & DomainSaveRestoreFlags[flag]) !== 0;

/** RUNNING and PAUSED override what the domain was when it was saved. */
export function checkSaveFlags(flags: number, driverFunction: string): void {
  if (has(flags, 'RUNNING') && has(flags, 'PAUSED')) {
    throw new VirtError(
      ErrorCode.INVALID_ARG,
      "Flags 'VIR_DOMAIN_SAVE_RUNNING' and 'VIR_DOMAIN_SAVE_PAUSED' are mutually exclusive",
      { domain: ErrorDomain.DOMAIN, bare: true },
    );
  }
  checkFlags(flags, DomainSaveRestoreFlags, driverFunction);
}

/** See {@link Domain.save}. */
export async function save(record: DomainRecord, path: string, flags: number): Promise<void> {
  checkNonNull(path, 'to', 'virDomainSave');
  checkSaveFlags(flags, 'qemuDomainSaveFlags');
  if (!path.startsWith('/')) {
    throw new VirtError(ErrorCode.INVALID_ARG, 'could not build absolute output file path', {
      domain: ErrorDomain.DOMAIN,
    });
  }
  await record.locked('DomainSave', async () => {
    record.requireRunning();
    await saveTo(record, path, flags, 'save');
  });
}

/** See {@link Domain.managedSave}. */
export async function managedSave(record: DomainRecord, flags: number): Promise<void> {
  checkSaveFlags(flags, 'qemuDomainManagedSave');
  await record.locked('DomainManagedSave', async () => {
    record.requireRunning();
    if (!record.persistent) {
      throw new VirtError(ErrorCode.OPERATION_INVALID, 'cannot do managed save for transient domain');
    }
    const path = managedSavePath(record);
    if (path === undefined) throw noSupport('virDomainManagedSave');
    await saveTo(record, path, flags, 'managed-save');
  });
}

/** Where a domain's managed save is; undefined if the connection keeps none. */
export function managedSavePath(record: DomainRecord): string | undefined {
  const { saveDirectory } = record.services;
  return saveDirectory === undefined ? undefined : `${saveDirectory}/${record.name}.save`;
}

/** virDomainHasManagedSaveImage. */
export async function hasManagedSave(record: DomainRecord): Promise<boolean> {
  const path = managedSavePath(record);
  return path !== undefined && (await record.services.driver.volumes.stat(path)) !== undefined;
}

/**
 * virDomainManagedSaveRemove.
 * @throws VirtError SYSTEM_ERROR if there is none
 */
export async function removeManagedSave(record: DomainRecord): Promise<void> {
  const path = managedSavePath(record);
  if (path === undefined || !(await hasManagedSave(record))) {
    throw new VirtError(
      ErrorCode.SYSTEM_ERROR,
      `Failed to remove managed save file '${path ?? `${record.name}.save`}': No such file or directory`,
      { errno: 2 },
    );
  }
  await record.services.driver.volumes.remove(path);
}

async function saveTo(
  record: DomainRecord,
  path: string,
  flags: number,
  operation: 'save' | 'managed-save',
): Promise<void> {
  const running = record.requireRunning();
  record.guard(operation);
  const { machine } = running;
  if (!machine.save || !record.live) throw noSupport('virDomainSave');
  const wasPaused = running.state.state === DomainState.PAUSED;
  const paused = has(flags, 'PAUSED') || (wasPaused && !has(flags, 'RUNNING'));
  const state: SavedState = { xml: liveDefinition(record.live, running.disks), paused };
  if (!wasPaused) await running.pause();
  try {
    await machine.save(path, JSON.stringify(state));
  } catch (error) {
    if (!wasPaused && record.running === running) await running.resume();
    throw error;
  }
  record.endingAs = 'saved';
  await machine.destroy();
  await running.gone;
}

/**
 * What a saved state says, and how it is gone on with.
 * @throws VirtError SYSTEM_ERROR, OPERATION_FAILED for another kind of file, NO_SUPPORT
 */
export async function readSaved(
  driver: HypervisorDriver,
  path: string,
  flags: number,
): Promise<{ readonly xml: string; readonly mode: StartModeName }> {
  if (!driver.savedHeader) throw noSupport('virDomainRestore');
  const { xml, paused } = parseState(await driver.savedHeader(path));
  const stays = has(flags, 'PAUSED') || (paused && !has(flags, 'RUNNING'));
  return { xml, mode: stays ? 'restored-paused' : 'restored' };
}

function parseState(text: string): SavedState {
  try {
    const state: unknown = JSON.parse(text);
    if (state instanceof Object && 'xml' in state && typeof state.xml === 'string') {
      return { xml: state.xml, paused: 'paused' in state && state.paused === true };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new VirtError(ErrorCode.OPERATION_FAILED, 'failed to parse XML of the saved state');
}
