/** What every family of commands shares: the shape of a handler and the way to its arguments. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { CommandError } from '../../core/errors.ts';
import type { Vm } from '../../core/vm.ts';
import type { Profile } from '../../profiles/profile.ts';

/** What a handler works on. */
export interface CommandContext {
  readonly vm: Vm;
  readonly profile: Profile;
  /** The monitors of the command line, for query-chardev. */
  readonly chardevs: readonly { readonly label: string; readonly filename: string }[];
}

/** The answer comes later, by the handler's third argument. */
export const LATER = Symbol('the reply comes later');

/** How a late answer is given: nothing is the empty object, an error a refusal. */
export type Finish = (value?: Json | CommandError) => void;

/**
 * Executes one command. Its arguments have the types that the schema gives them. Returns what it replies, nothing for
 * the empty object, or {@link LATER}. Refuses by throwing a CommandError.
 */
export type Handler = (
  context: CommandContext,
  args: JsonObject,
  finish: Finish,
) => Json | typeof LATER | undefined;

/** Lets `run` have the last word of a command once `wait` calls back; what it refuses is the answer. */
export function answerAfter(
  finish: Finish,
  wait: (then: () => void) => void,
  run: () => Json | undefined,
): typeof LATER {
  wait(() => finish(resultOf(run)));
  return LATER;
}

/** What comes of something: the refusal, if it is refused. */
export function resultOf<T>(run: () => T): T | CommandError {
  try {
    return run();
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
}

/** A family of commands by name. */
export type CommandTable = Readonly<Record<string, Handler>>;

/** A string argument, if it is there. */
export function text(args: JsonObject, name: string): string | undefined {
  const value = args[name];
  return typeof value === 'string' ? value : undefined;
}

/** A string argument that the schema makes mandatory. */
export const needText = (args: JsonObject, name: string): string => text(args, name) ?? '';

/** An integer argument, if it is there. */
export function integer(args: JsonObject, name: string): number | undefined {
  const value = args[name];
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined;
}

/** An integer argument as it came, exact where a number is not. */
export function exactInteger(args: JsonObject, name: string): number | bigint | undefined {
  const value = args[name];
  return typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
}

/** A boolean argument, if it is there. */
export function flag(args: JsonObject, name: string): boolean | undefined {
  const value = args[name];
  return typeof value === 'boolean' ? value : undefined;
}

/** An enum argument: the schema has checked its value. */
export function choice<T extends string>(args: JsonObject, name: string, otherwise: T): T {
  return (text(args, name) as T | undefined) ?? otherwise;
}

/** A name as error texts have it. */
export const quoted = (name: string): string => `'${name}'`;

/** Whether a value is a JSON object. */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A list of objects. */
export function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
