/** Looks at a simulated machine's copies through a monitor of its own, while a case runs. */
import type { DirtySample } from '../../conformance/timeline.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';
import type { Timers } from '../../src/index.ts';

const FIRST_LOOK_MS = 0.25;
/** A look is taken when so much more of the time since the start has gone by: a long copy needs no more of them. */
const GROWTH = 0.01;

/** The same host, and how many bytes the copies of its machines still had to move. Needs monitors to spare. */
export function observed(host: Host): { readonly host: Host; dirty(): readonly DirtySample[] } {
  const samples: DirtySample[] = [];
  const outer: Host = {
    ...host,
    async launch(emulator, argv, leftBehind) {
      const launched = await host.launch(emulator, argv, leftBehind);
      await watch(launched, host.timers, samples);
      return launched;
    },
  };
  return { host: outer, dirty: () => samples };
}

async function watch(emulator: Emulator, timers: Timers, samples: DirtySample[]): Promise<void> {
  const monitor = await emulator.connect();
  const ask = (execute: string) => monitor.write(new TextEncoder().encode(`{"execute":"${execute}"}\n`));
  const startMs = timers.now();
  const decoder = new TextDecoder();
  let rest = '';
  let cancel = () => {};
  const look = () => {
    ask('query-block-jobs');
    cancel = timers.after(FIRST_LOOK_MS + (timers.now() - startMs) * GROWTH, look);
  };
  monitor.onData((bytes) => {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const bytesLeft of lines.flatMap(mirrorsIn)) samples.push([timers.now(), bytesLeft]);
  });
  monitor.onClose(() => cancel());
  ask('qmp_capabilities');
  look();
}

interface BlockJob {
  readonly type?: unknown;
  readonly len?: unknown;
  readonly offset?: unknown;
}

/** What each mirror of an answer still has to move; 0 before it knows how much that is would be a lie, and is left out. */
function mirrorsIn(line: string): number[] {
  if (!line.includes('"mirror"') || !line.startsWith('{"return"')) return [];
  const { return: jobs } = JSON.parse(line) as { readonly return: readonly BlockJob[] };
  return jobs.flatMap(({ type, len, offset }) =>
    type === 'mirror' && typeof len === 'number' && typeof offset === 'number' && len > 0
      ? [len - offset]
      : [],
  );
}
