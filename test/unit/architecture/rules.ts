/** The import table and the bans of the architecture, as data; `architecture.test.ts` holds every file to it. */

/** What one room may import. Patterns are path prefixes from the root of the repository, or package names. */
export interface RoomRule {
  /** Which files are the room: the first rule that matches a file holds it. */
  readonly room: RegExp;
  /** Prefixes of files and names of packages that may be imported, besides the room's own folder where `own` says so. */
  readonly may: readonly string[];
}

/** Any module of Node itself. */
export const NODE = 'node:';

/** The table, most specific room first. */
export const ROOMS: readonly RoomRule[] = [
  { room: /^src\/util\//, may: ['src/util/'] },
  { room: /^src\/conf\/xml\.ts$/, may: ['src/util/', 'src/errors.ts', 'xml2js'] },
  { room: /^src\/conf\//, may: ['src/util/', 'src/errors.ts', 'src/conf/'] },
  { room: /^src\/qmp\//, may: ['src/util/', 'src/qmp/'] },
  { room: /^src\/driver\.ts$/, may: ['src/util/timers.ts'] },
  { room: /^src\/errors\.ts$|^src\/flags\.ts$/, may: [] },
  {
    room: /^src\/blockjob\//,
    may: ['src/blockjob/', 'src/driver.ts', 'src/flags.ts', 'src/errors.ts', 'src/conf/', 'src/util/'],
  },
  {
    room: /^src\/guards\.ts$/,
    may: ['src/blockjob/', 'src/driver.ts', 'src/flags.ts', 'src/errors.ts', 'src/conf/', 'src/util/'],
  },
  { room: /^src\//, may: ['src/'] },
  {
    room: /^drivers\/(\w+)\//,
    may: ['drivers/$1/', 'src/driver.ts', 'src/errors.ts', 'src/conf/', 'src/qmp/', 'src/util/', NODE],
  },
  { room: /^mock-qemu\/core\//, may: ['mock-qemu/core/', 'src/util/assert.ts'] },
  {
    room: /^mock-qemu\/images\/disk/,
    may: ['mock-qemu/images/', 'mock-qemu/core/', 'src/util/assert.ts', NODE],
  },
  { room: /^mock-qemu\/images\//, may: ['mock-qemu/images/', 'mock-qemu/core/', 'src/util/assert.ts'] },
  {
    room: /^mock-qemu\/profiles\/introspection\.ts$/,
    may: ['mock-qemu/profiles/', 'mock-qemu/core/', 'src/qmp/', 'src/util/assert.ts', NODE],
  },
  {
    room: /^mock-qemu\/profiles\//,
    may: ['mock-qemu/profiles/', 'mock-qemu/core/', 'src/qmp/', 'src/util/assert.ts'],
  },
  {
    room: /^mock-qemu\/qmp\//,
    may: ['mock-qemu/qmp/', 'mock-qemu/profiles/', 'mock-qemu/core/', 'src/qmp/', 'src/util/assert.ts'],
  },
  {
    room: /^mock-qemu\/shells\//,
    may: ['mock-qemu/', 'src/qmp/', 'src/util/', NODE, 'msw', '@mswjs/interceptors'],
  },
  { room: /^conformance\/vitest\.ts$/, may: ['conformance/', 'src/index.ts', 'vitest'] },
  { room: /^conformance\/(cli|report)/, may: ['conformance/', 'src/index.ts', 'fast-check', NODE] },
  { room: /^conformance\//, may: ['conformance/', 'src/index.ts', 'fast-check'] },
  {
    room: /^entry\/vitest\.ts$/,
    may: ['entry/', 'src/', 'drivers/', 'mock-qemu/', 'conformance/', NODE, 'vitest'],
  },
  { room: /^entry\//, may: ['entry/', 'src/', 'drivers/', 'mock-qemu/', 'conformance/', NODE] },
];

/** Words that may not stand in a room's code. */
export interface Ban {
  readonly room: RegExp;
  readonly except?: RegExp;
  readonly word: RegExp;
  readonly why: string;
}

/** The bans. */
export const BANS: readonly Ban[] = [
  {
    room: /^mock-qemu\/core\//,
    word: /\b(?:Date|Math\.random|setTimeout|setInterval|setImmediate|Promise|async|await|console|process)\b/,
    why: 'the core is pure: time and chance are parameters',
  },
  {
    room: /^mock-qemu\/(?:qmp|profiles)\//,
    word: /\b(?:async|await|Promise|setTimeout|console)\b/,
    why: 'synchronous by decision 3',
  },
  {
    room: /^(?:src|drivers|mock-qemu|conformance|entry)\//,
    except: /^(?:drivers\/qemu\/dialects|mock-qemu\/profiles)\//,
    word: /__com\.redhat_/,
    why: 'versions are data: dialects and profiles know them, nobody else',
  },
  {
    room: /^src\//,
    word: /\b(?:Date\.now|setTimeout|setInterval|Math\.random)\b/,
    why: 'time is the injected timer port',
  },
];

/** Files that a ban or a rule lets off, each with its reason. */
export const LET_OFF: readonly { readonly file: string; readonly word: RegExp; readonly why: string }[] = [
  { file: 'src/util/timers.ts', word: /setTimeout/, why: 'the wall clock is where real time enters' },
  {
    file: 'mock-qemu/core/graph/permissions.ts',
    word: /process/,
    why: "a word of QEMU's hint at a locked image",
  },
];

/** A function longer than this does not fit a screen. */
export const MAX_FUNCTION_LINES = 70;
