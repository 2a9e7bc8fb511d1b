/** What copy refuses. */
import { BlockCopyFlags, ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { Lab } from '../../../lab.ts';
import { copyTargetXml } from '../../../vm.ts';
import { BEYOND, COPY_BYTES_OVERFLOW } from './overflow.ts';
import type { RefusalRow } from './row.ts';

const { SHALLOW, REUSE_EXT } = BlockCopyFlags;
const { INVALID_ARG, XML_ERROR, CONFIG_UNSUPPORTED, SYSTEM_ERROR, OPERATION_UNSUPPORTED, INTERNAL_ERROR } =
  ErrorCode;

/** A destination that is not the ordinary one. */
function destination(
  lab: Lab,
  name: string,
  { type = 'file', format = 'qcow2', attributes = '', below = '' } = {},
): string {
  const driver = format === '' ? '' : `<driver type='${format}'/>`;
  const where = type === 'file' ? 'file' : 'dev';
  return `<disk type='${type}'>${driver}<source ${where}='${lab.path(name)}'${attributes}/>${below}</disk>`;
}

const copyTo =
  (xml: (lab: Lab) => string, flags = 0, disk = 'vda') =>
  (lab: Lab): Promise<void> =>
    lab.domain.blockCopy(disk, xml(lab), {}, flags);

const NEW = (lab: Lab): string => copyTargetXml(lab.path('new'), 'qcow2');
const missing =
  (name: string) =>
  (lab: Lab): string =>
    `missing destination file for disk vda: ${lab.path(name)}: No such file or directory`;

const arguments_: readonly RefusalRow[] = [
  {
    id: 'copy-unknown-parameter',
    call: 'blockCopy',
    act: (lab) => lab.domain.blockCopy('vda', NEW(lab), { foo: 1 } as object),
    code: ErrorCode.ARGUMENT_UNSUPPORTED,
    domain: ErrorDomain.NONE,
    says: "parameter 'foo' not supported",
  },
  {
    id: 'copy-granularity',
    call: 'blockCopy',
    act: (lab) => lab.domain.blockCopy('vda', NEW(lab), { granularity: 3 }),
    code: INVALID_ARG,
    says: 'granularity must be power of 2',
  },
  {
    id: 'copy-bytes-overflow',
    call: 'blockCopy',
    act: (lab) => lab.domain.blockCopy('vda', NEW(lab), { bandwidth: BEYOND }),
    ...COPY_BYTES_OVERFLOW,
  },
  {
    id: 'copy-persistent',
    call: 'blockCopy',
    options: { persistent: true },
    act: copyTo(NEW),
    code: ErrorCode.OPERATION_INVALID,
    says: 'domain is not transient',
  },
];

const texts: readonly RefusalRow[] = [
  {
    id: 'copy-other-root',
    call: 'blockCopy',
    act: copyTo(() => '<foo/>'),
    code: XML_ERROR,
    domain: ErrorDomain.XML,
    says: "expecting root element of 'disk', not 'foo'",
  },
  {
    id: 'copy-without-source',
    call: 'blockCopy',
    act: copyTo(() => '<disk/>'),
    code: ErrorCode.NO_SOURCE,
    domain: ErrorDomain.DOMAIN,
    says: 'missing source information for device',
    bare: true,
  },
  {
    id: 'copy-unknown-type',
    call: 'blockCopy',
    act: copyTo(() => "<disk type='zz'><source file='/x'/></disk>"),
    code: XML_ERROR,
    domain: ErrorDomain.XML,
    says: "Invalid value for attribute 'type' in element 'disk': 'zz'.",
  },
  {
    id: 'copy-unknown-format',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'new', { format: 'zz' })),
    code: CONFIG_UNSUPPORTED,
    domain: ErrorDomain.DOMAIN,
    says: "unknown driver format value 'zz'",
  },
  {
    id: 'copy-relative-path',
    call: 'blockCopy',
    act: copyTo(() => copyTargetXml('x', 'qcow2')),
    code: INVALID_ARG,
    says: 'absolute path must be used as block copy target',
  },
  {
    id: 'copy-passed-descriptor',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'new', { attributes: " fdgroup='group'" })),
    code: CONFIG_UNSUPPORTED,
    says: 'copy to a FD passed disk source is not yet supported',
  },
];

const destinations: readonly RefusalRow[] = [
  {
    id: 'copy-backing-without-shallow',
    call: 'blockCopy',
    act: copyTo((lab) =>
      destination(lab, 'new', {
        below: `<backingStore type='file'><format type='qcow2'/><source file='${lab.path('mid')}'/></backingStore>`,
      }),
    ),
    code: INVALID_ARG,
    says: "backingStore of mirror without VIR_DOMAIN_BLOCK_COPY_SHALLOW doesn't make sense",
  },
  {
    id: 'copy-shallow-into-raw',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'new', { format: 'raw' }), SHALLOW),
    code: CONFIG_UNSUPPORTED,
    says: "shallow copy of disk 'vda' into a raw file is not possible",
  },
  {
    id: 'copy-onto-existing-file',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'other')),
    code: CONFIG_UNSUPPORTED,
    says: (lab) =>
      `external destination file for disk vda already exists and is not a block device: ${lab.path('other')}`,
  },
  {
    id: 'copy-reusing-missing-file',
    call: 'blockCopy',
    act: copyTo(NEW, REUSE_EXT),
    code: SYSTEM_ERROR,
    says: missing('new'),
  },
  {
    id: 'copy-onto-missing-device',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'new', { type: 'block' })),
    code: SYSTEM_ERROR,
    says: missing('new'),
  },
  {
    id: 'copy-reusing-file-as-device',
    call: 'blockCopy',
    act: copyTo((lab) => destination(lab, 'other', { type: 'block' }), REUSE_EXT),
    code: INVALID_ARG,
    says: (lab) =>
      `blockdev flag requested for disk vda, but file '${lab.path('other')}' is not a block device`,
  },
  {
    id: 'copy-shared-into-qcow2',
    call: 'blockCopy',
    options: { disks: ['shared'] },
    act: copyTo(NEW, 0, 'vds'),
    code: OPERATION_UNSUPPORTED,
    says: "can't pivot a shared disk to a storage volume not supporting sharing",
  },
  {
    id: 'copy-of-empty-drive',
    call: 'blockCopy',
    options: { disks: ['empty'] },
    act: copyTo(NEW, 0, 'hdc'),
    code: INTERNAL_ERROR,
    says: "failed to update capacity data for block node '(null)'",
  },
  {
    id: 'copy-into-missing-directory',
    call: 'blockCopy',
    needs: ['extras'],
    act: copyTo(() => copyTargetXml('/nonexistent/copy', 'qcow2')),
    code: SYSTEM_ERROR,
    says: 'failed to create copy target: No such file or directory',
  },
];

/** Rows of copy. */
export const copyRows: readonly RefusalRow[] = [...arguments_, ...texts, ...destinations];
