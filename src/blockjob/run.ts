/** Carries out a plan: every step has its undo beside it, and a refused start leaves nothing behind. */
import type { JobRequest, Machine, TargetRef } from '../driver.ts';
import { isVirtError } from '../errors.ts';
import type { JobPlan } from './plan.ts';
import type { JobRecord, JobRegistry } from './registry.ts';

/**
 * Starts a job. It is registered, and shows in the XML, before it is sent.
 * @throws whatever the driver threw, after all earlier steps have been undone
 */
export async function startJob(machine: Machine, registry: JobRegistry, plan: JobPlan): Promise<JobRecord> {
  const { disk } = plan.entry;
  const undo: (() => Promise<void> | void)[] = [];
  disk.mirror = plan.mirror;
  const record = registry.register(plan.entry);
  undo.push(() => {
    disk.mirror = undefined;
    if (registry.byId(record.id) === record) registry.remove(record);
  });
  try {
    let target: TargetRef | undefined;
    if (record.target) {
      const prepared = await machine.prepareTarget(record.target);
      undo.push(() => machine.discardTarget(prepared));
      target = prepared;
    }
    await machine.startJob(withTarget(record.request, target));
  } catch (error) {
    for (const step of undo.reverse()) await attempt(step);
    throw error;
  }
  // An event may have moved the job on before the reply was read.
  if (record.state === 'new' && registry.byId(record.id) === record) registry.transition(record, 'running');
  return record;
}

function withTarget(request: JobRequest, target: TargetRef | undefined): JobRequest {
  return target && request.kind === 'copy' ? { ...request, target } : request;
}

/** An undo that fails (the machine is gone) must not hide the error that made it necessary. */
async function attempt(step: () => Promise<void> | void): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!isVirtError(error)) throw error;
  }
}
