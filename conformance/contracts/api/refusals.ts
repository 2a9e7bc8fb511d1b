/** What the block-job calls refuse, with libvirt's code, domain and words: one contract per row. */
import { BlockCopyFlags } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expectEqual } from '../../expect.ts';
import { Lab } from '../../lab.ts';
import { aroundRows } from './refusals/around.ts';
import { callRows } from './refusals/calls.ts';
import { checkpointRows } from './refusals/checkpoints.ts';
import { commitRows } from './refusals/commits.ts';
import { copyRows } from './refusals/copies.ts';
import { elsewhereRows } from './refusals/elsewhere.ts';
import { pullRows } from './refusals/pulls.ts';
import { type RefusalRow, refusalContract } from './refusals/row.ts';
import { tuneRows } from './refusals/tunes.ts';

/** Every refusal. */
export const refusalRows: readonly RefusalRow[] = [
  ...callRows,
  ...pullRows,
  ...copyRows,
  ...commitRows,
  ...aroundRows,
  ...tuneRows,
  ...checkpointRows,
  ...elsewhereRows,
].map((row) => ({ ...row, id: `api/refused/${row.id}` }));

/** One contract per refusal. */
export const refusalContracts: readonly Contract[] = refusalRows.map(refusalContract);

/** Flags that no row names are held here: a copy of a persistent domain that says TRANSIENT_JOB is taken. */
export const transientJob = example({
  id: 'api/copy-transient-job',
  title: 'A persistent domain is copied with TRANSIENT_JOB, and after an abort stands on its source',
  source: 'virDomainBlockCopy: VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB',
  needs: ['copy', 'readyEvent', 'extras'],
  async check(world) {
    const lab = await Lab.start(world, { persistent: true });
    await lab.copy(BlockCopyFlags.TRANSIENT_JOB);
    await lab.ready();
    await lab.domain.blockJobAbort('vda');
    expectEqual(await lab.chain(), ['top', 'mid', 'low', 'base'], 'chain after the abort');
  },
});
