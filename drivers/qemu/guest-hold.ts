/** Stops a guest around something that it must not take part in, without anybody noticing. */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { QmpClient } from './qmp-client.ts';

/** Knows whether a machine's CPUs run, and holds them. */
export class GuestHold {
  readonly #client: QmpClient;
  readonly #onStuck: () => void;
  #cpusRun = false;
  #holds = false;

  /** @param onStuck called when a guest that was held cannot be started again */
  constructor(client: QmpClient, onStuck: () => void) {
    this.#client = client;
    this.#onStuck = onStuck;
  }

  /** The CPUs have stopped or go on (QMP: STOP, RESUME); false if that is nobody's business. */
  isNews(cpusRun: boolean): boolean {
    this.#cpusRun = cpusRun;
    return !this.#holds;
  }

  /**
   * Does something while the CPUs are stopped, as libvirt did: whoever has to find out afterwards which of two images is
   * right finds them equal. A guest that is stopped already stays so.
   */
  async during(work: () => Promise<void>): Promise<void> {
    if (!this.#cpusRun) return work();
    this.#holds = true;
    try {
      await this.#client.execute('stop');
      await work();
    } finally {
      await this.#letGo();
    }
  }

  async #letGo(): Promise<void> {
    // Without a monitor there is nothing to let go; what was lost with it says more.
    if (this.#client.state !== 'running') return;
    try {
      await this.#client.execute('cont');
    } catch (cause) {
      this.#onStuck();
      throw new VirtError(ErrorCode.OPERATION_FAILED, 'resuming after drive-reopen failed', { cause });
    } finally {
      this.#holds = false;
    }
  }
}
