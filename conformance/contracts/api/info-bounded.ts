import fc from 'fast-check';
import { BlockJobStatus, BlockJobType } from '../../../src/index.ts';
import { copies, pulls } from '../../arbitraries.ts';
import { property } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import type { JobInfo, Vm } from '../../vm.ts';

export const infoBounded = property({
  id: 'api/info-bounded',
  title: 'Progress stays within 0 <= cur <= end, never goes back, and a pull never shows cur equal to end',
  source: 'virDomainBlockJobInfo (cur, end); qemuDomainGetBlockJobInfo; QAPI query-block-jobs (offset, len)',
  needs: ['copy', 'pull', 'readyEvent', 'monotonicProgress'],
  arbitrary: fc.oneof(
    fc.record({ kind: fc.constant('copy' as const), copy: copies({ held: true }) }),
    fc.record({ kind: fc.constant('pull' as const), pull: pulls({ held: true }) }),
  ),
  async check(world, input) {
    const plan = input.kind === 'copy' ? input.copy : input.pull;
    const vm = await world.start(plan.disk);
    if (input.kind === 'copy') await vm.copy(input.copy);
    else await vm.pull(input.pull);
    const watch = new ProgressWatch(vm, input.kind === 'copy' ? BlockJobType.COPY : BlockJobType.PULL);
    expect((await watch.look()) !== null, 'there is no job info right after the start');
    await vm.write(plan.during);
    await watch.look();
    await vm.letGo(plan.speedBytesPerSecond);
    await world.until('the job to get to READY or to its end', async () => {
      await watch.look();
      return vm.statuses().length > 0;
    });
    await vm.write(plan.later);
    await watch.look();
    const outcome = input.kind === 'copy' ? BlockJobStatus.READY : BlockJobStatus.COMPLETED;
    expectEqual<readonly number[]>(vm.statuses(), [outcome], 'job events');
  },
});

/** Remembers the last progress, so that a step back is noticed. */
class ProgressWatch {
  readonly #vm: Vm;
  readonly #type: number;
  #cur = 0;

  constructor(vm: Vm, type: number) {
    this.#vm = vm;
    this.#type = type;
  }

  async look(): Promise<JobInfo | null> {
    const info = await this.#vm.info();
    if (info === null) return null;
    const { type, cur, end } = info;
    expectEqual<number>(type, this.#type, 'type of the job');
    expect(cur >= 0 && cur <= end, `cur ${cur} is not within 0 and end ${end}`);
    // Below the size of the disk nothing is known yet when end is 0 or 1.
    if (end > 1) {
      // libvirt takes one byte off a job that has copied all and is not ready, whatever it reported before.
      const isHeldBack = cur === end - 1 && this.#cur === end;
      expect(cur >= this.#cur || isHeldBack, `cur went back from ${this.#cur} to ${cur}`);
      this.#cur = Math.max(cur, this.#cur);
    }
    expect(type !== BlockJobType.PULL || cur < end, `a pull shows cur equal to end (${end})`);
    return info;
  }
}
