/** Any JSON value as QMP carries it; a bigint is an integer that a number cannot hold exactly. */
export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [member: string]: Json };
/** A JSON object as QMP carries it. */
export type JsonObject = { readonly [member: string]: Json };

/** The first message of a server (QAPI: none, docs/interop/qmp-spec). */
export interface QmpGreeting {
  readonly QMP: {
    readonly version: {
      readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
      readonly package: string;
    };
    readonly capabilities: readonly string[];
  };
}

/** A command as a client sends it. */
export interface QmpCommand {
  readonly execute: string;
  readonly arguments?: JsonObject;
  readonly id?: Json;
}

/** The error member of a failed reply. `data` exists only on QEMU < 1.2 and RHEL 6. */
export interface QmpErrorBody {
  readonly class: string;
  readonly desc: string;
  readonly data?: JsonObject;
}

/** An asynchronous event. */
export interface QmpEvent {
  readonly event: string;
  readonly data?: JsonObject;
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

/** QAPI JobStatus. */
export type JobStatus =
  | 'undefined'
  | 'created'
  | 'running'
  | 'paused'
  | 'ready'
  | 'standby'
  | 'waiting'
  | 'pending'
  | 'aborting'
  | 'concluded'
  | 'null';
