/** Joins the reports of runs that shared the work. */
import type { CanaryReport, ContractReport, ContractResult, Report } from './report/report.ts';
import { summarize } from './report/report.ts';

const RANK = { fail: 2, pass: 1, skip: 0 } as const;

/**
 * One report of several: every contract once, with all targets it was run on. Where two ran the same one on the same
 * target, a failure outweighs a pass, and a pass outweighs a skip.
 * @param order ids of contracts in the order they are to have; others come after them
 */
export function mergeReports(reports: readonly Report[], order: readonly string[] = []): Report {
  const lines = new Map<string, ContractReport>();
  for (const line of reports.flatMap(({ contracts }) => contracts)) {
    const known = lines.get(line.id);
    lines.set(line.id, known ? { ...known, results: joinResults(known.results, line.results) } : line);
  }
  const place = (id: string) => (order.includes(id) ? order.indexOf(id) : order.length);
  const contracts = [...lines.values()].sort((left, right) => place(left.id) - place(right.id));
  const canaries = joinCanaries(reports.flatMap((report) => report.canaries));
  const copies = reports.flatMap((report) => report.copies ?? []);
  const found = { contracts, canaries, ...(copies.length > 0 ? { copies } : {}) };
  return {
    ...found,
    summary: summarize(found, {
      seed: reports[0]?.summary.seed ?? 0,
      // The machines worked side by side; what they worked in all is what the sum says.
      ms: reports.reduce((sum, { summary }) => sum + summary.ms, 0),
      targets: Object.assign({}, ...reports.map(({ summary }) => summary.targets)),
    }),
  };
}

/** The parts `I/N` of shared runs that are not among these reports. */
export function missingParts(reports: readonly Report[]): string[] {
  const there = reports.flatMap(({ shard }) => (shard === undefined ? [] : [shard]));
  const counts = [...new Set(there.map((shard) => Number(shard.split('/')[1])))];
  const wanted = counts.flatMap((count) =>
    Array.from({ length: count }, (_, index) => `${index + 1}/${count}`),
  );
  return wanted.filter((shard) => !there.includes(shard));
}

function joinResults(
  left: ContractReport['results'],
  right: ContractReport['results'],
): ContractReport['results'] {
  const joined: Record<string, ContractResult> = { ...left };
  for (const [target, result] of Object.entries(right)) {
    const known = joined[target];
    if (!known || RANK[result.status] > RANK[known.status]) joined[target] = result;
  }
  return joined;
}

/** A canary that one machine caught is caught. */
function joinCanaries(all: readonly CanaryReport[]): CanaryReport[] {
  const joined = new Map<string, CanaryReport>();
  for (const canary of all) {
    const known = joined.get(canary.id);
    joined.set(canary.id, known ? { ...known, caught: known.caught || canary.caught } : canary);
  }
  return [...joined.values()];
}
