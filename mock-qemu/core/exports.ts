/** What a machine exports: its NBD server, and the exports that keep nodes for its clients. */

import { activate } from './activity.ts';
import { HostError, strerror } from './errno.ts';
import { refuse } from './errors.ts';
import type { DirtyBitmap } from './graph/bitmap.ts';
import { isIdentifier } from './graph/graph.ts';
import type { BlockNode, Edge } from './graph/node.ts';
import { addressText, type NbdAddress, NbdExport, type NbdServer } from './nbd.ts';
import { ALL, READ, RESIZE, WRITE } from './rights.ts';
import type { Vm } from './vm.ts';

/** One export. */
export interface Export {
  readonly id: string;
  readonly edge: Edge;
  readonly nbd: NbdExport;
  /** Bitmaps that clients may ask for. */
  readonly bitmaps: readonly DirtyBitmap[];
}

/** What is to be exported. */
export interface NewExport {
  readonly id: string;
  readonly node: () => BlockNode;
  readonly name: string;
  readonly writable: boolean;
  /** Takes the node as it is, and lets go of it when it is made inactive. */
  readonly allowsInactive?: boolean;
  readonly bitmaps: readonly string[];
}

/** All exports of a machine. */
export class Exports {
  /** Newest first, as queries list them. */
  readonly list: Export[] = [];
  readonly #vm: Vm;
  #server: NbdServer | undefined;

  constructor(vm: Vm) {
    this.#vm = vm;
  }

  /** nbd-server-start. */
  start(address: NbdAddress): void {
    const { network, images } = this.#vm;
    if (this.#server) refuse('NBD server already running');
    if (address.type === 'unix') {
      try {
        // What lies where the socket goes is in its way.
        if (!network.find(address)) images.remove(address.path);
        images.createEmpty(address.path);
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        refuse(`Failed to bind socket to ${address.path}: ${strerror(error.code)}`);
      }
    }
    this.#server = network.listen(address) ?? refuse(`Failed to bind socket: ${strerror('EADDRINUSE')}`);
  }

  /** nbd-server-stop. */
  stop(): void {
    const server = this.#running;
    this.closeAll();
    this.#end(server);
  }

  /** Closes every export and says so. */
  closeAll(): void {
    const newestFirst = this.#vm.traits.exportsStopNewestFirst;
    for (const each of newestFirst ? [...this.list] : this.list.toReversed()) this.#close(each);
  }

  /** The process is gone: clients notice, nobody is told. */
  abandon(): void {
    if (this.#server) this.#vm.network.close(this.#server);
    this.#server = undefined;
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  get #running(): NbdServer {
    return this.#server ?? refuse('NBD server not running');
  }

  #end(server: NbdServer): void {
    this.#vm.network.close(server);
    if (server.address.type === 'unix') this.#vm.images.remove(addressText(server.address));
    this.#server = undefined;
  }

  /** nbd-server-add, block-export-add; refused in QEMU's order. */
  add(wanted: NewExport): void {
    const { id, name, writable, allowsInactive = false } = wanted;
    if (!isIdentifier(id)) refuse('Invalid block export id');
    if (this.find(id)) refuse(`Block export id '${id}' is already in use`);
    const node = wanted.node();
    if (writable && node.readOnly) refuse('Cannot export read-only node as writable');
    const { graph } = this.#vm;
    const rights = { needs: writable ? READ | WRITE : READ, shares: ALL & ~RESIZE };
    if (!allowsInactive) activate(node);
    const edge = graph.hold({ kind: 'export', id, allowsInactive }, 'root', node, rights);
    try {
      const server = this.#running;
      if (server.exports.has(name)) refuse(`NBD server already has export named '${name}'`);
      const bitmaps = wanted.bitmaps.map((each) => bitmapFor(node, each, writable));
      for (const bitmap of bitmaps) bitmap.busy = true;
      const nbd = new NbdExport(name, writable, () => edge.child);
      server.exports.set(name, nbd);
      this.list.unshift({ id, edge, nbd, bitmaps });
    } catch (error) {
      graph.letGo(edge);
      throw error;
    }
  }

  find(id: string): Export | undefined {
    return this.list.find((each) => each.id === id);
  }

  /** nbd-server-remove, block-export-del. `hard`: clients are cut off. */
  remove(id: string, hard: boolean): void {
    const found = this.find(id) ?? refuse(`Export '${id}' is not found`);
    if (!hard && found.nbd.clients > 0) refuse(`export '${id}' still in use`);
    this.#close(found);
  }

  #close(each: Export): void {
    const { id, edge, nbd, bitmaps } = each;
    nbd.closed = true;
    for (const bitmap of bitmaps) bitmap.busy = false;
    this.list.splice(this.list.indexOf(each), 1);
    this.#server?.exports.delete(nbd.name);
    this.#vm.graph.letGo(edge);
    this.#vm.emit('BLOCK_EXPORT_DELETED', { id });
  }
}

/** A bitmap of a node or of an image below it; refuses one that goes on changing under an export that does not. */
function bitmapFor(node: BlockNode, name: string, writable: boolean): DirtyBitmap {
  let found: DirtyBitmap | undefined;
  for (let at: BlockNode | undefined = node; at && !found; at = (at.filtered ?? at.backing)?.child) {
    found = at.bitmaps.find((bitmap) => bitmap.name === name);
  }
  if (!found) return refuse(`Bitmap '${name}' is not found`);
  if (!writable && !node.readOnly && found.enabled) {
    refuse(`Enabled bitmap '${name}' incompatible with readonly export`);
  }
  return found;
}
