/** What crosses the core's edge as a reply or an event: any JSON value, without a dependency on the wire. */
export type Value = null | boolean | number | bigint | string | readonly Value[] | Data;
/** A JSON object, as {@link Value}. */
export type Data = { readonly [member: string]: Value };
