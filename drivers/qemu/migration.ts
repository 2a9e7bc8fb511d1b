/** Saving and restoring a machine's state: a migration into a file and out of it, through a shell's redirection. */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { QmpClient } from './qmp-client.ts';
import type { QmpCall } from './qmp-json.ts';

const quote = (path: string): string => `'${path.replaceAll("'", `'\\''`)}'`;

/** Where a machine's state goes: behind what is in the file already. */
export function saveUri(path: string): string {
  return `exec:cat >> ${quote(path)}`;
}

/** Where a machine's state comes from: the file, without its first bytes. */
export function restoreUri(path: string, skipBytes: number): string {
  return `exec:tail -c +${skipBytes + 1} ${quote(path)}`;
}

const ENDED: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled']);

/**
 * Starts a migration and waits for its end (QAPI: migrate or migrate-incoming, MIGRATION).
 * @throws VirtError of the refused command, OPERATION_FAILED if QEMU gave up, or of the lost monitor
 */
export async function awaitMigration(client: QmpClient, call: QmpCall): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  promise.catch(() => undefined);
  const unsubscribe = client.onEvent(({ event, data }) => {
    if (event === 'MIGRATION' && ENDED.has(data.status)) resolve(data.status);
  });
  void client.closed.then((cause) => reject(cause ?? lost()));
  try {
    const capabilities = [{ capability: 'events', state: true }];
    await client.execute('migrate-set-capabilities', { capabilities });
    await client.call(call);
    const status = await promise;
    if (status !== 'completed') throw new VirtError(ErrorCode.OPERATION_FAILED, `unexpectedly ${status}`);
  } finally {
    unsubscribe();
  }
}

const lost = (): VirtError =>
  new VirtError(ErrorCode.OPERATION_FAILED, 'the monitor was closed', { outcome: 'unknown' });
