/**
 * Records what a real QEMU answers to the golden scripts: `node test/differential/capture.ts QEMU PROFILE [FAMILY]`. The
 * simulation is held to these records without any QEMU. Each family of scripts has files of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { RealPlace } from './real.ts';
import { PLACE, type Script } from './script.ts';
import type { Transcript } from './transcript.ts';

/** A script with what it is about. */
export interface GoldenScript extends Script {
  readonly name: string;
}

const GOLDEN = new URL('../golden/', import.meta.url);

/** Families of golden scripts; the first one's files have no prefix. */
export const GOLDEN_FAMILIES = [
  'jobs',
  'found',
  'snapshots',
  'media',
  'throttle',
  'exports',
  'rare',
  'bitmaps',
  'rights',
  'errors',
  'drawn',
  'backups',
  'files',
  'activity',
  'drains',
  'reopening',
  'clusters',
] as const;
/** One of {@link GOLDEN_FAMILIES}. */
export type GoldenFamily = (typeof GOLDEN_FAMILIES)[number];

const fileOf = (family: GoldenFamily, name: string): URL =>
  new URL(family === 'jobs' ? `${name}.json` : `${family}.${name}.json`, GOLDEN);

/** The golden scripts of a family. */
export const goldenScripts = (family: GoldenFamily): readonly GoldenScript[] =>
  JSON.parse(readFileSync(fileOf(family, 'scripts'), 'utf8'));

/** What a profile's real QEMU answered, by the script's name. */
export const goldenTranscripts = (
  profile: string,
  family: GoldenFamily,
): Readonly<Record<string, Transcript>> => JSON.parse(readFileSync(fileOf(family, profile), 'utf8'));

async function capture(qemu: string, profile: string, family: GoldenFamily): Promise<void> {
  const place = new RealPlace(qemu);
  const records: Record<string, Transcript> = {};
  try {
    for (const { name, ...script } of goldenScripts(family)) {
      const here = JSON.stringify(script).replaceAll(`${PLACE}/`, `${place.directory}/`);
      records[name] = await place.run(JSON.parse(here));
    }
  } finally {
    place.close();
  }
  writeFileSync(fileOf(family, profile), `${JSON.stringify(records, null, 1)}\n`);
}

const [qemu, profile, wanted] = process.argv.slice(2);
if (import.meta.main && qemu !== undefined && profile !== undefined) {
  const families = GOLDEN_FAMILIES.filter((each) => wanted === undefined || wanted === each);
  if (families.length === 0) {
    process.stderr.write(`unknown family '${wanted}'; families: ${GOLDEN_FAMILIES.join(', ')}\n`);
    process.exitCode = 2;
  }
  for (const family of families) await capture(qemu, profile, family);
}
