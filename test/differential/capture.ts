/**
 * Records what a real QEMU answers to the golden scripts: `node test/differential/capture.ts QEMU PROFILE`. The simulation
 * is held to these records without any QEMU.
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

/** The golden scripts. */
export const goldenScripts = (): readonly GoldenScript[] =>
  JSON.parse(readFileSync(new URL('scripts.json', GOLDEN), 'utf8'));

/** What a profile's real QEMU answered, by the script's name. */
export const goldenTranscripts = (profile: string): Readonly<Record<string, Transcript>> =>
  JSON.parse(readFileSync(new URL(`${profile}.json`, GOLDEN), 'utf8'));

async function capture(qemu: string, profile: string): Promise<void> {
  const place = new RealPlace(qemu);
  const records: Record<string, Transcript> = {};
  try {
    for (const { name, ...script } of goldenScripts()) {
      const here = JSON.stringify(script).replaceAll(`${PLACE}/`, `${place.directory}/`);
      records[name] = await place.run(JSON.parse(here));
    }
  } finally {
    place.close();
  }
  writeFileSync(new URL(`${profile}.json`, GOLDEN), `${JSON.stringify(records, null, 1)}\n`);
}

const [qemu, profile] = process.argv.slice(2);
if (import.meta.main && qemu !== undefined && profile !== undefined) await capture(qemu, profile);
