/**
 * Ends what this Node process started when it ends itself, by exit or by a signal. Children run in process groups of
 * their own, so that nothing else would reach them.
 */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const cleanups = new Set<() => void>();

function runAll(): void {
  for (const cleanup of [...cleanups]) cleanup();
  cleanups.clear();
}

function onSignal(signal: NodeJS.Signals): void {
  runAll();
  stopListening();
  // Nobody else handles it: let it do what it would have done without us.
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function startListening(): void {
  process.on('exit', runAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function stopListening(): void {
  process.off('exit', runAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

/** Calls back, synchronously, when this process ends; the returned function takes that back. */
export function atProcessEnd(cleanup: () => void): () => void {
  if (cleanups.size === 0) startListening();
  cleanups.add(cleanup);
  return () => {
    if (cleanups.delete(cleanup) && cleanups.size === 0) stopListening();
  };
}
