/** `<iotune>`: how fast a disk may be, under the names that virDomainSetBlockIoTune has for it. */
import { ErrorCode, ErrorDomain, VirtError } from '../errors.ts';
import { childOf, element, textOf, type XmlElement } from './xml.ts';

/** What can be limited, in libvirt's order: bytes or requests, per second. */
export const IO_TUNE_RATES = [
  'total_bytes_sec',
  'read_bytes_sec',
  'write_bytes_sec',
  'total_iops_sec',
  'read_iops_sec',
  'write_iops_sec',
] as const;
/** One of {@link IO_TUNE_RATES}. */
export type IoTuneRate = (typeof IO_TUNE_RATES)[number];

/** A number of an {@link IoTune}: a rate, its burst, how many seconds a burst may last, the size of one request. */
export type IoTuneField = IoTuneRate | `${IoTuneRate}_max` | `${IoTuneRate}_max_length` | 'size_iops_sec';

/** All numbers, in the order of the XML. */
export const IO_TUNE_FIELDS: readonly IoTuneField[] = [
  ...IO_TUNE_RATES,
  ...IO_TUNE_RATES.map((rate) => `${rate}_max` as const),
  'size_iops_sec',
  ...IO_TUNE_RATES.map((rate) => `${rate}_max_length` as const),
];

/** Limits of a disk. What is left out is 0: no limit. */
export interface IoTune {
  readonly values: Readonly<Partial<Record<IoTuneField, number>>>;
  /** Disks of one group share its limits; undefined: a group of the disk's own. */
  readonly group: string | undefined;
}

/** No limits at all. */
export const NO_IO_TUNE: IoTune = { values: {}, group: undefined };

/** More than that QEMU does not take. */
export const IO_TUNE_MAX = 1_000_000_000_000_000;

/** Whether a disk is limited by anything. */
export const isTuned = ({ values }: IoTune): boolean =>
  IO_TUNE_FIELDS.some((field) => (values[field] ?? 0) !== 0);

/** What may be limited in whole or by direction, not both: the end of such names, without `total_`, `read_`, `write_`. */
export const IO_TUNE_FAMILIES = ['bytes_sec', 'iops_sec', 'bytes_sec_max', 'iops_sec_max'] as const;

/** The first family that is limited both in whole and by direction. */
export function contradictionOf(values: IoTune['values']): string | undefined {
  return IO_TUNE_FAMILIES.find(
    (family) => values[`total_${family}`] && (values[`read_${family}`] || values[`write_${family}`]),
  );
}

const xmlError = (detail: string): VirtError =>
  new VirtError(ErrorCode.XML_ERROR, detail, { domain: ErrorDomain.DOMAIN });

/**
 * Reads the `<iotune>` of a disk.
 * @throws VirtError XML_ERROR, ARGUMENT_UNSUPPORTED for what is beyond QEMU
 */
export function ioTuneFromXml(disk: XmlElement): IoTune {
  const iotune = childOf(disk, 'iotune');
  if (!iotune) return NO_IO_TUNE;
  const values: Partial<Record<IoTuneField, number>> = {};
  for (const field of IO_TUNE_FIELDS) {
    const written = childOf(iotune, field);
    if (!written) continue;
    const text = textOf(written);
    if (!/^\d{1,20}$/.test(text)) throw xmlError(`disk iotune field '${field}' must be an integer`);
    if (Number(text) !== 0) values[field] = Number(text);
  }
  const twice = contradictionOf(values);
  if (twice) throw xmlError(`total and read/write ${twice} cannot be set at the same time`);
  if (Object.values(values).some((value) => value > IO_TUNE_MAX)) {
    const detail = `block I/O throttle limit must be no more than ${IO_TUNE_MAX} using QEMU`;
    throw new VirtError(ErrorCode.ARGUMENT_UNSUPPORTED, detail);
  }
  return { values, group: textOf(childOf(iotune, 'group_name')) || undefined };
}

/** A `<disk>` with other limits, which stand behind its target as libvirt writes them. */
export function withIoTune(disk: XmlElement, tune: IoTune): XmlElement {
  const children = disk.children.filter((child) => typeof child === 'string' || child.name !== 'iotune');
  const wanted = isTuned(tune) || tune.group;
  const target = children.findIndex((child) => typeof child !== 'string' && child.name === 'target');
  return {
    ...disk,
    children: wanted ? children.toSpliced(target + 1, 0, ioTuneToXml(tune)) : children,
  };
}

function ioTuneToXml({ values, group }: IoTune): XmlElement {
  const number = (field: IoTuneField): XmlElement[] =>
    values[field] ? [element(field, {}, String(values[field]))] : [];
  const [first, second] = [IO_TUNE_FIELDS.slice(0, 13), IO_TUNE_FIELDS.slice(13)];
  const name = group ? [element('group_name', {}, group)] : [];
  return element('iotune', {}, ...first.flatMap(number), ...name, ...second.flatMap(number));
}
