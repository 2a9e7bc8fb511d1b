/**
 * What a QEMU says about its own commands, as data. Captured from a real binary by `scripts/capture-introspection.mjs`;
 * written by hand for the generations that cannot describe themselves.
 */

/** A member of an object type; `default` is there (and null) when the member is optional. */
export interface SchemaMember {
  readonly name: string;
  readonly type: string;
  readonly default?: null;
  readonly features?: readonly string[];
}

/** One SchemaInfo of query-qmp-schema. An enum's deprecated `values` is left out: it repeats `members`. */
export type SchemaEntity = { readonly name: string; readonly features?: readonly string[] } & (
  | { readonly 'meta-type': 'builtin'; readonly 'json-type': string }
  | {
      readonly 'meta-type': 'enum';
      readonly members: readonly { readonly name: string; readonly features?: readonly string[] }[];
    }
  | { readonly 'meta-type': 'array'; readonly 'element-type': string }
  | {
      readonly 'meta-type': 'object';
      readonly members: readonly SchemaMember[];
      readonly tag?: string;
      readonly variants?: readonly { readonly case: string; readonly type: string }[];
    }
  | { readonly 'meta-type': 'alternate'; readonly members: readonly { readonly type: string }[] }
  | {
      readonly 'meta-type': 'command';
      readonly 'arg-type': string;
      readonly 'ret-type': string;
      readonly 'allow-oob'?: boolean;
    }
  | { readonly 'meta-type': 'event'; readonly 'arg-type': string }
);

/** The C types that introspection hides behind `int`; everything not listed is int64. */
export type IntegerType = 'int8' | 'int16' | 'int32' | 'uint8' | 'uint16' | 'uint32' | 'uint64';

/** All that one binary told. */
export interface Introspection {
  readonly greeting: {
    readonly version: { readonly major: number; readonly minor: number; readonly micro: number };
    readonly package: string;
    readonly capabilities: readonly string[];
  };
  /** query-commands, in its order. */
  readonly commands: readonly string[];
  /** Events that it can emit; left out where the schema tells. */
  readonly events?: readonly string[];
  /** Commands whose arguments reach the handler unchecked (QAPI: `gen: false`). */
  readonly unchecked: readonly string[];
  /** Names of alternate types as error texts have them, by type id. */
  readonly alternates: Readonly<Record<string, string>>;
  /** Integer members narrower or wider than int64: `TYPE.MEMBER`, found by probing. */
  readonly integers: Readonly<Record<string, IntegerType>>;
  /** query-qmp-schema, in its order; empty where the generation has none. */
  readonly schema: readonly SchemaEntity[];
}

/** A file under `captured/`: the schema is JSON text, because most runs never need it parsed. */
export type CapturedIntrospection = Omit<Introspection, 'schema' | 'integers'> & {
  readonly integers: Readonly<Record<string, string>>;
  readonly schema: string;
};

/** Opens a captured file; its schema is parsed when it is first read. */
export function fromCapture(captured: CapturedIntrospection): Introspection {
  const { schema: text, integers, ...rest } = captured;
  let schema: readonly SchemaEntity[] | undefined;
  return {
    ...rest,
    integers: integers as Introspection['integers'],
    get schema() {
      schema ??= JSON.parse(text) as readonly SchemaEntity[];
      return schema;
    },
  };
}
