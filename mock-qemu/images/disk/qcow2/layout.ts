/** The qcow2 format as numbers: where what lies in a file (QEMU's docs/interop/qcow2). All integers are big-endian. */

/** `QFI` and 0xfb, the first four bytes. */
export const MAGIC = 0x514649fb;
/** Length of a version 2 header, and of the parts of a version 3 header that are written here, in bytes. */
export const HEADER_BYTES = { 2: 72, 3: 104 } as const;

/** Offsets of the header's members, in bytes. */
export const HEADER = {
  magic: 0,
  version: 4,
  backingNameOffset: 8,
  backingNameBytes: 16,
  clusterBits: 20,
  virtualSizeBytes: 24,
  encryption: 32,
  l1Entries: 36,
  l1Offset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshotCount: 60,
  snapshotsOffset: 64,
  incompatibleFeatures: 72,
  /** The low half of the 64 bits. */
  autoclearFeatures: 92,
  refcountOrder: 96,
  headerBytes: 100,
} as const;

/** Types of header extensions. */
export const EXTENSION = { end: 0, backingFormat: 0xe2792aca, bitmaps: 0x23852875 } as const;
/** The bit of the autoclear features that says: whoever wrote last kept the bitmaps true. */
export const AUTOCLEAR_BITMAPS = 1;

/** Incompatible features that reading copes with: the dirty bit (refcounts are not read) and no other. */
export const KNOWN_INCOMPATIBLE = 1;

/** The bits of an L1 or L2 entry, as its high and low 32 bits. */
export const ENTRY = {
  /** High word: exactly one reference to the cluster. */
  copied: 0x8000_0000,
  /** High word. */
  compressed: 0x4000_0000,
  /** High word: the part of the offset. */
  offsetHigh: 0x00ff_ffff,
  /** Low word: the part of the offset. */
  offsetLow: 0xffff_fe00,
  /** Low word: reads as zeroes, whatever is below (version 3). */
  zero: 1,
} as const;

/** Cluster sizes QEMU allows: 512 bytes to 2 MiB. */
export const CLUSTER_BITS = { min: 9, max: 21 } as const;
/** How long a backing file's name may be, in bytes. */
export const MAX_BACKING_NAME_BYTES = 1023;
/** How many entries an L1 table may have. */
export const MAX_L1_ENTRIES = (32 << 20) / 8;
/** Length of an L1, L2 or refcount table's entry, in bytes. */
export const TABLE_ENTRY_BYTES = 8;

/** Offsets of the members of an entry of the snapshot table, in bytes. What has a size of its own follows. */
export const SNAPSHOT = {
  l1Offset: 0,
  l1Entries: 8,
  idBytes: 12,
  nameBytes: 14,
  dateSec: 16,
  dateNsec: 20,
  vmClockNs: 24,
  vmStateBytes32: 32,
  extraBytes: 36,
  /** The first of the extra members. */
  vmStateBytes: 40,
  virtualSizeBytes: 48,
  instructions: 56,
} as const;
/** Length of an entry up to its extra members, and of those that are written here, in bytes. */
export const SNAPSHOT_BYTES = { fixed: 40, extra: 24 } as const;
/** The count of instructions of a machine that does not count them. */
export const NO_INSTRUCTIONS = 0xffff_ffff_ffff_ffffn;
/** How many internal snapshots an image may have. */
export const MAX_SNAPSHOTS = 65536;

/** Offsets of the members of the extension that leads to the bitmaps' directory, and what QEMU allows there. */
export const BITMAPS = {
  count: 0,
  directoryBytes: 8,
  directoryOffset: 16,
  /** Length of the extension, in bytes. */
  bytes: 24,
  maxCount: 65535,
  maxDirectoryBytes: 65535 * 1048,
  minGranularityBits: 9,
  maxGranularityBits: 31,
} as const;
/** Offsets of the members of an entry of that directory, in bytes. The extra data and the name follow. */
export const BITMAP = {
  tableOffset: 0,
  tableEntries: 8,
  flags: 12,
  type: 16,
  granularityBits: 17,
  nameBytes: 18,
  extraBytes: 20,
} as const;
/** Length of an entry up to its extra data, in bytes. */
export const BITMAP_BYTES = 24;
/** Flags of an entry. */
export const BITMAP_FLAG = { inUse: 1, auto: 2 } as const;
/** The one type of bitmaps that there is. */
export const BITMAP_TYPE_DIRTY = 1;
