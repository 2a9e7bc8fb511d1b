/** What checkpoints refuse, each seen on libvirt 9.0, the order of the checks included. */
import { ErrorCode, ErrorDomain } from '../../../../src/index.ts';
import type { Lab } from '../../../lab.ts';
import type { RefusalRow } from './row.ts';

const { INVALID_ARG, CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED, XML_INVALID_SCHEMA } = ErrorCode;
const { DOMAIN, DOMAIN_CHECKPOINT, XML } = ErrorDomain;
const CREATE = 'VIR_DOMAIN_CHECKPOINT_CREATE_';

const xml = (disks: string, name = 'new') =>
  `<domaincheckpoint><name>${name}</name>${disks && `<disks>${disks}</disks>`}</domaincheckpoint>`;
const VDA = "<disk name='vda'/>";
const FINE = xml(VDA);

type Row = Omit<RefusalRow, 'id' | 'call' | 'act'> & { readonly xml: unknown; readonly flags?: number };

const schema = (text: string): Row => ({
  xml: text,
  code: XML_INVALID_SCHEMA,
  domain: XML,
  says: 'Unable to validate doc against ',
  more: true,
});

const CREATE_ROWS: Readonly<Record<string, Row>> = {
  'without-xml': {
    xml: null,
    code: INVALID_ARG,
    domain: DOMAIN_CHECKPOINT,
    says: 'xmlDesc in virDomainCheckpointCreateXML must not be NULL',
    bare: true,
  },
  'redefine-and-quiesce': {
    xml: FINE,
    flags: 3,
    code: INVALID_ARG,
    domain: DOMAIN_CHECKPOINT,
    says: `Flags '${CREATE}REDEFINE' and '${CREATE}QUIESCE' are mutually exclusive`,
    bare: true,
  },
  'validate-alone': {
    xml: FINE,
    flags: 4,
    code: INVALID_ARG,
    domain: DOMAIN_CHECKPOINT,
    says: `Flag '${CREATE}REDEFINE' is required by flag '${CREATE}REDEFINE_VALIDATE'`,
    bare: true,
  },
  quiesce: {
    xml: FINE,
    flags: 2,
    code: INVALID_ARG,
    says: 'unsupported flags (0x2) in function qemuCheckpointCreateXML',
    bare: true,
  },
  'not-running': {
    xml: '<x',
    options: { inactive: true },
    code: OPERATION_UNSUPPORTED,
    says: 'cannot create checkpoint for inactive domain',
  },
  'other-root': {
    xml: '<x/>',
    code: ErrorCode.XML_ERROR,
    domain: XML,
    says: "expecting root element of 'domaincheckpoint', not 'x'",
  },
  'no-disks': schema('<domaincheckpoint><disks/></domaincheckpoint>'),
  'disk-without-name': schema("<domaincheckpoint><disks><disk checkpoint='no'/></disks></domaincheckpoint>"),
  'unknown-word': schema(xml("<disk name='vda' checkpoint='foo'/>")),
  'bitmap-and-no': schema(xml("<disk name='vda' checkpoint='no' bitmap='x'/>")),
  'slash-in-name': schema(xml(VDA, 'a/b')),
  'dot-before-name': schema(xml(VDA, '.a')),
  'strange-element': schema('<domaincheckpoint><foo/></domaincheckpoint>'),
  'unknown-disk': {
    xml: xml("<disk name='vdz'/>"),
    code: CONFIG_UNSUPPORTED,
    domain: DOMAIN_CHECKPOINT,
    says: "no disk named 'vdz'",
  },
  'disk-twice': {
    xml: xml(VDA + VDA),
    code: CONFIG_UNSUPPORTED,
    domain: DOMAIN_CHECKPOINT,
    says: "disk 'vda' specified twice",
  },
  'read-only-disk': {
    xml: xml("<disk name='hda'/>"),
    options: { disks: ['cdrom'] },
    code: CONFIG_UNSUPPORTED,
    domain: DOMAIN_CHECKPOINT,
    says: "disk 'hda' is empty or readonly",
  },
  'raw-disk': {
    xml: xml(''),
    options: { disks: ['shared'] },
    code: CONFIG_UNSUPPORTED,
    says: 'checkpoint for disk vds unsupported for storage type raw',
  },
  'other-bitmap': {
    xml: xml("<disk name='vda' bitmap='zz'/>"),
    code: CONFIG_UNSUPPORTED,
    says: "bitmap for disk 'vda' must match checkpoint name 'new'",
  },
  'known-name': {
    xml: FINE,
    given: ({ domain }) => domain.checkpointCreateXML(FINE),
    code: ErrorCode.OPERATION_FAILED,
    domain: DOMAIN,
    says: 'domain moment new already exists',
  },
  'bitmap-there': {
    xml: FINE,
    async given(lab: Lab) {
      const [, index] = /index=.(\d+)./.exec(await lab.domain.getXMLDesc()) ?? [];
      await lab.monitor('block-dirty-bitmap-add', { node: `libvirt-${index}-format`, name: 'new' });
    },
    code: ErrorCode.INTERNAL_ERROR,
    says: "unable to execute QEMU command 'transaction': Bitmap already exists: new",
  },
  'redefined-without-name': {
    xml: '<domaincheckpoint/>',
    flags: 1,
    code: ErrorCode.XML_ERROR,
    domain: DOMAIN_CHECKPOINT,
    says: 'a redefined checkpoint must have a name',
  },
  'redefined-without-time': {
    xml: FINE,
    flags: 1,
    code: ErrorCode.INTERNAL_ERROR,
    domain: DOMAIN_CHECKPOINT,
    says: 'missing creationTime from existing checkpoint',
  },
};

const creating = Object.entries(CREATE_ROWS).map(
  ([why, { xml: text, flags = 0, ...row }]): RefusalRow => ({
    ...row,
    id: `checkpoint-${why}`,
    call: 'checkpointCreateXML',
    act: ({ domain }) => domain.checkpointCreateXML(text as string, flags),
  }),
);

const others: readonly RefusalRow[] = [
  {
    id: 'checkpoint-list-unknown-flag',
    call: 'listAllCheckpoints',
    act: ({ domain }) => domain.listAllCheckpoints(16),
    code: INVALID_ARG,
    says: 'unsupported flags (0x10) in function qemuDomainListAllCheckpoints',
    bare: true,
  },
  {
    id: 'checkpoint-lookup-unknown-flag',
    call: 'checkpointLookupByName',
    act: ({ domain }) => domain.checkpointLookupByName('new', 1),
    code: INVALID_ARG,
    says: 'unsupported flags (0x1) in function qemuDomainCheckpointLookupByName',
    bare: true,
  },
];

/** The rows. */
export const checkpointRows: readonly RefusalRow[] = [...creating, ...others].map((row) => ({
  ...row,
  needs: ['extras'],
}));
