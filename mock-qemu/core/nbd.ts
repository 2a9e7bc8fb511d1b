/**
 * NBD between simulated machines: who listens where, and what they export. No bytes travel: a client's request is done to
 * the exported node at once.
 */
import type { Span, Tag } from './extents.ts';
import { discardFrom, flushNode, readAt, writeTo } from './graph/data.ts';
import type { BlockNode } from './graph/node.ts';

/** Where a server listens. */
export type NbdAddress =
  | { readonly type: 'unix'; readonly path: string }
  | { readonly type: 'inet'; readonly host: string; readonly port: string };

/** An address as error texts have it. */
export const addressText = (address: NbdAddress): string =>
  address.type === 'unix' ? address.path : `${address.host}:${address.port}`;

/** What a client has of an export. */
export class NbdExport {
  readonly name: string;
  readonly writable: boolean;
  readonly node: () => BlockNode;
  /** The server has gone, or has taken the export away. */
  closed = false;
  /** How many clients are connected. */
  clients = 0;

  constructor(name: string, writable: boolean, node: () => BlockNode) {
    this.name = name;
    this.writable = writable;
    this.node = node;
  }
}

/** One server. */
export interface NbdServer {
  readonly address: NbdAddress;
  readonly exports: Map<string, NbdExport>;
}

/** All servers that machines of one world can reach. */
export class NbdNetwork {
  readonly #servers = new Map<string, NbdServer>();

  /** Starts a server; undefined: somebody listens there already. */
  listen(address: NbdAddress): NbdServer | undefined {
    const key = keyOf(address);
    if (this.#servers.has(key)) return undefined;
    const server: NbdServer = { address, exports: new Map() };
    this.#servers.set(key, server);
    return server;
  }

  /** Nobody is reached there any more. */
  close(server: NbdServer): void {
    for (const each of server.exports.values()) each.closed = true;
    this.#servers.delete(keyOf(server.address));
  }

  find(address: NbdAddress): NbdServer | undefined {
    return this.#servers.get(keyOf(address));
  }
}

const keyOf = (address: NbdAddress): string => `${address.type}:${addressText(address)}`;

/** A node's connection to an export. */
export class NbdConnection {
  readonly address: NbdAddress;
  readonly export: NbdExport;

  constructor(address: NbdAddress, to: NbdExport) {
    this.address = address;
    this.export = to;
    to.clients++;
  }

  get lost(): boolean {
    return this.export.closed;
  }

  get sizeBytes(): number {
    return this.lost ? 0 : this.export.node().lengthBytes;
  }

  at(offset: number, limit: number): Span {
    return this.lost ? { end: limit, tag: 0 } : readAt(this.export.node(), offset, limit);
  }

  write(start: number, end: number, tag: Tag): void {
    if (!this.lost) writeTo(this.export.node(), start, end, tag);
  }

  discard(start: number, end: number): void {
    if (!this.lost) discardFrom(this.export.node(), start, end);
  }

  flush(): void {
    if (!this.lost) flushNode(this.export.node());
  }

  close(): void {
    this.export.clients--;
  }
}

/** Whether a request to a node would go to a server that has gone. */
export function isConnectionLost(node: BlockNode): boolean {
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child)
    if (at.remote?.lost) return true;
  return false;
}

/** Whether requests to a node go over a connection, which may be lost. */
export function hasRemoteBelow(node: BlockNode): boolean {
  for (let at: BlockNode | undefined = node; at; at = (at.filtered ?? at.file)?.child)
    if (at.remote) return true;
  return false;
}

/** An export by the URI that QEMU writes and reads, or by its older notation; undefined: it is none. */
export function parseNbdName(
  name: string,
): { readonly address: NbdAddress; readonly exportName: string } | undefined {
  const unix = /^nbd\+unix:\/\/\/?([^?]*)\?socket=(.*)$/.exec(name);
  if (unix) return { address: { type: 'unix', path: unix[2] ?? '' }, exportName: unix[1] ?? '' };
  const inet = /^nbd(?:\+tcp)?:\/\/([^/:]+)(?::(\d+))?\/?(.*)$/.exec(name);
  if (inet) {
    const [, host = '', port = '10809', exportName = ''] = inet;
    return { address: { type: 'inet', host, port }, exportName };
  }
  const old = /^nbd:(?:unix:([^:]+)|([^:]+):(\d+))(?::exportname=(.*))?$/.exec(name);
  if (!old) return undefined;
  const [, path, host = '', port = '', exportName = ''] = old;
  const address: NbdAddress = path === undefined ? { type: 'inet', host, port } : { type: 'unix', path };
  return { address, exportName };
}

/** An export's URI as QEMU gives it. */
export function nbdName({ address, export: { name } }: NbdConnection): string {
  if (address.type === 'unix') return `nbd+unix://${name === '' ? '' : `/${name}`}?socket=${address.path}`;
  return `nbd://${address.host}:${address.port}${name === '' ? '' : `/${name}`}`;
}
