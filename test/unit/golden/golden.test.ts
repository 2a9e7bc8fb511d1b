import { describe, expect, test } from 'vitest';
import { GOLDEN_FAMILIES, goldenScripts, goldenTranscripts } from '../../differential/capture.ts';
import { diverges, explain } from '../../differential/compare.ts';
import { runSimulated } from '../../differential/simulated.ts';

const PROFILES = ['qemu-7.2', 'qemu-10.0'] as const;

describe.each(PROFILES.flatMap((profile) => GOLDEN_FAMILIES.map((family) => ({ profile, family }))))(
  '$profile answers about $family as the real one did',
  ({ profile, family }) => {
    const transcripts = goldenTranscripts(profile, family);
    test.each(goldenScripts(family))('$name', (script) => {
      const real = transcripts[script.name];
      expect(real).toBeDefined();
      if (!real) return;
      const divergence = diverges(script, profile, real, runSimulated(script, profile, '/D'));
      expect(divergence && explain(divergence)).toBeUndefined();
    });
  },
);
