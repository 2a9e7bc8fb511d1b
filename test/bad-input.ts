/** What a user may get wrong, and what each must give: the same table for the simulation and for a real QEMU. */
import { expect, test } from 'vitest';
import { type Connection, type Domain, ErrorCode, isVirtError } from '../entry/index.ts';

/** A connection with a directory for images. */
export interface Place {
  readonly connection: Connection;
  readonly directory: string;
}

const MIB = 1_048_576;

const domainXml = (path: string, more = ''): string => `<domain type='qemu'><name>bad-input</name>
<memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>${more}
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>`;
const copyTo = (path: string): string =>
  `<disk type='file'><driver type='qcow2'/><source file='${path}'/></disk>`;

interface Row {
  readonly what: string;
  readonly attempt: (place: Place, domain: Domain) => Promise<unknown>;
  readonly code: ErrorCode;
  readonly says: RegExp;
  readonly hint: RegExp;
}

const ROWS: readonly Row[] = [
  {
    what: 'malformed XML',
    attempt: ({ connection }) => connection.defineXML('<domain><name>x</domain>'),
    code: ErrorCode.XML_DETAIL,
    says: /\(domain_definition\):1: Unexpected close tag/,
    hint: /Correct the XML at the line/,
  },
  {
    what: 'a domain whose image is not there',
    attempt: ({ connection, directory }) =>
      connection.createXML(domainXml(`${directory}/none.qcow2`).replace('bad-input', 'other')),
    code: ErrorCode.SYSTEM_ERROR,
    says: /Cannot access storage file '.*none\.qcow2'.*No such file or directory/,
    hint: /Create what is missing/,
  },
  {
    what: 'an unknown disk',
    attempt: (_, domain) => domain.blockCopy('vdz', copyTo('/x')),
    code: ErrorCode.INVALID_ARG,
    says: /disk 'vdz' not found in domain/,
    hint: /Name one of vda, or the path/,
  },
  {
    what: 'a target path in a directory that is not there',
    attempt: (_, domain) => domain.blockCopy('vda', copyTo('/nonexistent/copy.qcow2')),
    code: ErrorCode.SYSTEM_ERROR,
    says: /failed to create copy target.*No such file or directory/,
    hint: /Create what is missing or give this process access/,
  },
  {
    what: 'an image that is not what the XML says',
    attempt: async ({ connection, directory }) => {
      await connection.volumes.create({ path: `${directory}/raw`, format: 'raw', capacityBytes: MIB });
      try {
        await connection.createXML(domainXml(`${directory}/raw`).replace('bad-input', 'other'));
      } finally {
        await connection.volumes.remove(`${directory}/raw`);
      }
    },
    code: ErrorCode.INTERNAL_ERROR,
    says: /not in qcow2 format/,
    hint: /what the hypervisor said/,
  },
];

/** Declares a test a row; `leftovers` names whatever should not be there afterwards. */
export function describeBadInput(
  open: () => Promise<Place>,
  leftovers: (place: Place) => Promise<string[]>,
): void {
  test.each(ROWS)('$what', async ({ attempt, code, says, hint }) => {
    const place = await open();
    const path = `${place.directory}/disk.qcow2`;
    await place.connection.volumes.create({ path, format: 'qcow2', capacityBytes: MIB });
    const domain = await place.connection.createXML(domainXml(path));
    const nodes = await nodesOf(domain);
    const before = await leftovers(place);
    const error: unknown = await attempt(place, domain).then(
      () => expect.fail('was accepted'),
      (reason: unknown) => reason,
    );
    expect(error).toSatisfy(isVirtError);
    expect(error).toMatchObject({ code, outcome: 'none', hint: expect.stringMatching(hint) });
    expect((error as Error).message).toMatch(says);
    expect(await nodesOf(domain)).toEqual(nodes);
    expect(await leftovers(place)).toEqual(before);
    // The domain is as good as before: the next job works.
    await domain.blockPull('vda');
    await domain.destroy();
    await place.connection.close();
  });
}

async function nodesOf(domain: Domain): Promise<string[]> {
  const reply = JSON.parse(await domain.qemuMonitorCommand('{"execute":"query-named-block-nodes"}'));
  return reply.return.map((node: { 'node-name': string }) => node['node-name']).sort();
}
