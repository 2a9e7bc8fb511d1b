/** As much of a domain's XML as the contracts look at: which images a disk has, and its mirror. */
import { Violation } from './expect.ts';

/** A disk as the live XML shows it. */
export interface DiskView {
  /** The images' paths, active first. */
  readonly chain: readonly string[];
  readonly mirror?: { readonly path: string; readonly job: string; readonly ready: string | undefined };
}

interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: Element[];
}

const TAG = /<(\/?)([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*(?:'[^']*'|"[^"]*"))*)\s*(\/?)>/g;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:'([^']*)'|"([^"]*)")/g;

/** Reads one disk out of a domain's XML (virDomainGetXMLDesc). */
export function readDisk(xml: string, target: string): DiskView {
  const disk = readDisks(xml).get(target);
  if (!disk) throw new Violation(`the domain XML has no disk ${target}`);
  return disk;
}

/** Reads every disk out of a domain's XML, by target. */
export function readDisks(xml: string): ReadonlyMap<string, DiskView> {
  const disks = new Map<string, DiskView>();
  for (const disk of all(parse(xml), 'disk')) {
    const mirror = child(disk, 'mirror');
    const view = { chain: chainOf(disk), ...(mirror ? { mirror: mirrorOf(mirror) } : {}) };
    disks.set(child(disk, 'target')?.attributes.get('dev') ?? '', view);
  }
  return disks;
}

function chainOf(disk: Element): string[] {
  const paths: string[] = [];
  for (let image: Element | undefined = disk; image; image = child(image, 'backingStore')) {
    const path = child(image, 'source')?.attributes.get('file');
    if (path === undefined) break;
    paths.push(path);
  }
  return paths;
}

function mirrorOf(mirror: Element): NonNullable<DiskView['mirror']> {
  return {
    path: child(mirror, 'source')?.attributes.get('file') ?? '',
    job: mirror.attributes.get('job') ?? '',
    ready: mirror.attributes.get('ready'),
  };
}

function parse(xml: string): Element {
  const root: Element = { name: '', attributes: new Map(), children: [] };
  const open = [root];
  for (const [, closes, name = '', attributes = '', empty] of xml.matchAll(TAG)) {
    if (closes) {
      if (open.length > 1) open.pop();
      continue;
    }
    const element: Element = { name, attributes: readAttributes(attributes), children: [] };
    open.at(-1)?.children.push(element);
    if (!empty) open.push(element);
  }
  return root;
}

function readAttributes(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, name = '', single, double] of text.matchAll(ATTRIBUTE))
    found.set(name, single ?? double ?? '');
  return found;
}

function child(element: Element, name: string): Element | undefined {
  return element.children.find((item) => item.name === name);
}

function all(element: Element, name: string): Element[] {
  return element.children.flatMap((item) => [...(item.name === name ? [item] : []), ...all(item, name)]);
}

/** A small machine with some devices. */
export const domainXml = (name: string, uuid: string, devices: string, more = ''): string =>
  `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><memory unit='MiB'>16</memory>${more}<os><type>hvm</type></os><devices>${devices}</devices></domain>`;
