import { describe, expect, test } from 'vitest';
import { goldenScripts, goldenTranscripts } from '../../differential/capture.ts';
import { diverges, explain } from '../../differential/compare.ts';
import { runSimulated } from '../../differential/simulated.ts';

describe.each(['qemu-7.2', 'qemu-10.0'])('%s answers as the real one did', (profile) => {
  const transcripts = goldenTranscripts(profile);
  test.each(goldenScripts())('$name', (script) => {
    const real = transcripts[script.name];
    expect(real).toBeDefined();
    if (!real) return;
    const divergence = diverges(script, profile, real, runSimulated(script, profile, '/D'));
    expect(divergence && explain(divergence)).toBeUndefined();
  });
});
