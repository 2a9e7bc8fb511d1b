/**
 * XML as an ordered tree. Text, attributes and unknown elements survive a round trip; comments and processing
 * instructions do not (libvirt drops them too). The only file that knows xml2js.
 */
import { Parser } from 'xml2js';
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';

/** An element; children in document order, text as strings. */
export interface XmlElement {
  readonly name: string;
  attributes: Record<string, string>;
  children: XmlNode[];
}

/** An element or a run of text. */
export type XmlNode = XmlElement | string;

/** libvirt's limit for a string on its wire, and so for any XML that reaches it. */
const MAX_XML_BYTES = 4_194_304;
/** Far beyond any domain XML; keeps hostile nesting from exhausting the stack. */
const MAX_DEPTH = 256;

interface RawNode {
  readonly '#name': string;
  readonly $?: Record<string, string>;
  readonly $$?: readonly RawNode[];
  readonly _?: string;
}

const PARSER_OPTIONS = {
  explicitRoot: false,
  explicitChildren: true,
  preserveChildrenOrder: true,
  charsAsChildren: true,
  includeWhiteChars: false,
  emptyTag: undefined,
} as const;

/**
 * Parses a document into its root element.
 * @param what names the input in errors, as libvirt does: `domain_definition`, `disk_definition`
 * @param domain which part of libvirt says so
 * @throws VirtError XML_DETAIL for text that is not well-formed, too large or nested too deeply
 */
export function parseXml(text: string, what: string, domain: ErrorDomain = ErrorDomain.DOMAIN): XmlElement {
  try {
    return parse(text, what);
  } catch (error) {
    if (!(error instanceof VirtError) || error.domain === domain) throw error;
    throw new VirtError(error.code, error.detail, { domain, cause: error.cause });
  }
}

function parse(text: string, what: string): XmlElement {
  if (typeof text !== 'string' || text.trim() === '') throw malformed(what, 1, 'Document is empty');
  if (text.length > MAX_XML_BYTES) throw malformed(what, 1, `larger than ${MAX_XML_BYTES} bytes`);
  let root: RawNode | undefined;
  let failure: Error | undefined;
  const parser = new Parser(PARSER_OPTIONS);
  // xml2js calls back before it returns unless it is told to be asynchronous; it forgets its listeners at the end of
  // the first root element, so whatever follows that is caught by these.
  const extra = (again: unknown): void => {
    if (again instanceof Object && again !== root)
      failure ??= new Error('Extra content at the end of the document');
  };
  try {
    parser.parseString(text, (error: Error | null, result: unknown) => {
      if (error) failure ??= error;
      else root = result as RawNode;
      parser.on('end', extra);
      parser.on('error', extra);
    });
  } catch (error) {
    // A second mistake in one text is thrown instead of handed over: the first one is what counts.
    failure ??= error instanceof Error ? error : new Error(String(error));
  }
  if (failure) throw malformed(what, lineOf(failure), firstLineOf(failure), failure);
  if (!root || typeof root !== 'object') throw malformed(what, 1, 'Document has no root element');
  return toElement(root, what, 0);
}

/**
 * Refuses a document of another kind.
 * @throws VirtError XML_ERROR, domain XML
 */
export function requireRoot(root: XmlElement, name: string): void {
  if (root.name === name) return;
  throw new VirtError(ErrorCode.XML_ERROR, `expecting root element of '${name}', not '${root.name}'`, {
    domain: ErrorDomain.XML,
  });
}

function toElement(raw: RawNode, what: string, depth: number): XmlElement {
  if (depth > MAX_DEPTH) throw malformed(what, 1, `elements nested more than ${MAX_DEPTH} deep`);
  const children: XmlNode[] = [];
  for (const child of raw.$$ ?? []) {
    if (child['#name'] === '__text__' || child['#name'] === '__cdata') children.push(child._ ?? '');
    else children.push(toElement(child, what, depth + 1));
  }
  return { name: raw['#name'], attributes: { ...raw.$ }, children };
}

function malformed(what: string, line: number, detail: string, cause?: Error): VirtError {
  return new VirtError(ErrorCode.XML_DETAIL, `(${what}):${line}: ${detail}`, {
    domain: ErrorDomain.DOMAIN,
    cause,
  });
}

/** sax puts `Line: N` (from 0) on a line of its own. */
function lineOf(error: Error): number {
  return Number(/^Line: (\d+)$/m.exec(error.message)?.[1] ?? 0) + 1;
}

function firstLineOf(error: Error): string {
  return error.message.split('\n', 1)[0] ?? 'malformed';
}

const TEXT_ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;' };
const ATTRIBUTE_ESCAPES: Record<string, string> = {
  ...TEXT_ESCAPES,
  "'": '&apos;',
  '\n': '&#10;',
  '\t': '&#9;',
};

const escapeText = (text: string): string => text.replace(/[&<>\r]/g, (char) => TEXT_ESCAPES[char] ?? char);
const escapeAttribute = (text: string): string =>
  /[&<>'\r\n\t]/.test(text) ? text.replace(/[&<>'\r\n\t]/g, (char) => ATTRIBUTE_ESCAPES[char] ?? char) : text;

/** Writes an element in libvirt's layout: two spaces a level, single quotes, text-only elements on one line. */
export function formatXml(element: XmlElement, indent = ''): string {
  const { name, attributes, children } = element;
  // Text is grown, not joined: whoever polls a domain asks for its whole XML each time.
  let text = `${indent}<${name}`;
  for (const key in attributes) text += ` ${key}='${escapeAttribute(attributes[key] ?? '')}'`;
  if (children.length === 0) return `${text}/>\n`;
  if (children.some((child) => typeof child === 'string'))
    return `${text}>${children.map(inline).join('')}</${name}>\n`;
  text += '>\n';
  const deeper = `${indent}  `;
  for (const child of children) if (typeof child !== 'string') text += formatXml(child, deeper);
  return `${text}${indent}</${name}>\n`;
}

/** Mixed content is kept on one line: white space inside it may matter. */
function inline(node: XmlNode): string {
  return typeof node === 'string' ? escapeText(node) : formatXml(node).trimEnd();
}

/** Makes an element; children that are undefined are left out. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | undefined>> = {},
  ...children: readonly (XmlNode | undefined)[]
): XmlElement {
  const present: Record<string, string> = {};
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) present[key] = value;
  return { name, attributes: present, children: children.filter((child) => child !== undefined) };
}

/** The child elements, in order. */
export function elementsOf(parent: XmlElement): XmlElement[] {
  return parent.children.filter((child) => typeof child !== 'string');
}

/** The first child element of that name. */
export function childOf(parent: XmlElement | undefined, name: string): XmlElement | undefined {
  return parent && elementsOf(parent).find((child) => child.name === name);
}

/** The text of an element, trimmed; '' for none. */
export function textOf(parent: XmlElement | undefined): string {
  return (parent?.children.filter((child) => typeof child === 'string') ?? []).join('').trim();
}

/** A deep copy. */
export function cloneXml(source: XmlElement): XmlElement {
  return {
    name: source.name,
    attributes: { ...source.attributes },
    children: source.children.map((child) => (typeof child === 'string' ? child : cloneXml(child))),
  };
}
