/**
 * The conformance suite, for use on any backend: {@link runConformance} gives a report, {@link defineConformance}
 * makes tests of a test runner's.
 */

export type {
  Ballast,
  CopyPlan,
  DiskBounds,
  DiskPlan,
  GuestPlan,
  LayerPlan,
  PullPlan,
} from './arbitraries.ts';
export { copies, disks, pulls } from './arbitraries.ts';
export type { Call } from './calls/call.ts';
export { CallSequence, callArbitraries, callSequences, calls, runCalls } from './calls/index.ts';
export type { AbortOptions, CommitOptions, CopyOptions, PullOptions } from './calls/jobs.ts';
export { Plain, type PlainDisk, type PlainJob, type Setup } from './calls/plain.ts';
export { Rig } from './calls/rig.ts';
export { canaries } from './canaries/index.ts';
export type { Canary } from './canary.ts';
export { overlay, withDomains } from './canary.ts';
export type { Contract, ExampleSpec, PropertySpec } from './contract.ts';
export { example, property } from './contract.ts';
export { contracts } from './contracts/index.ts';
export type { Bindings, DefineOptions } from './define.ts';
export { defineConformance } from './define.ts';
export { DeadlineViolation, expect, expectEqual, expectRefused, Violation } from './expect.ts';
export { canonicalRuns, DiskModel } from './model.ts';
export type { Reply } from './qmp/monitor.ts';
export { Monitor } from './qmp/monitor.ts';
export type { CanaryReport, ContractReport, ContractResult, Report, Summary } from './report/report.ts';
export { renderReport } from './report/report.ts';
export type { Progress, RunOptions } from './run.ts';
export { runConformance } from './run.ts';
export type {
  Availability,
  Capability,
  Control,
  FaultPlan,
  Guest,
  ImageSpec,
  Manager,
  ManagerOptions,
  OpenOptions,
  QmpOptions,
  QmpServer,
  QmpStream,
  Run,
  Session,
  SessionLimits,
  Target,
  TargetCapabilities,
  Write,
} from './target.ts';
export type { DirtySample, Timeline, TimelineEntry, TimelineRow } from './timeline.ts';
export type { JobInfo } from './vm.ts';
export { copyTargetXml, expectImage, Vm } from './vm.ts';
export type { WireMessage, WireMutation, WireMutationFactory, WirePort, WireValue } from './wire.ts';
export { composeMutations } from './wire.ts';
export { World } from './world.ts';
