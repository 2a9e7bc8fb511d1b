/** Tells a person what differs between two texts of JSON lines. */

/** One line of an explanation: `-` is the real QEMU's, `+` the simulation's. */
type Marked = string;

/** A value as one line for each leaf, by its path. */
function leaves(value: unknown, path: string, into: Map<string, string>): void {
  if (typeof value !== 'object' || value === null) into.set(path, JSON.stringify(value));
  else if (Array.isArray(value) && value.length === 0) into.set(path, '[]');
  else for (const [name, each] of Object.entries(value)) leaves(each, `${path}.${name}`, into);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** How two lines differ: member by member where both are JSON and long, whole otherwise. */
function lineDifference(real: string, simulated: string): Marked[] {
  const [a, b] = [parsed(real), parsed(simulated)];
  const isLong = real.length > LONG_LINE && simulated.length > LONG_LINE;
  if (!isLong || typeof a !== 'object' || typeof b !== 'object') return [`- ${real}`, `+ ${simulated}`];
  const [left, right] = [new Map<string, string>(), new Map<string, string>()];
  leaves(a, '', left);
  leaves(b, '', right);
  const paths = [...new Set([...left.keys(), ...right.keys()])].filter(
    (path) => left.get(path) !== right.get(path),
  );
  const rest = paths.length > MAX_MEMBERS ? [`  (${paths.length - MAX_MEMBERS} more members differ)`] : [];
  return paths
    .slice(0, MAX_MEMBERS)
    .flatMap((path) => [
      ...(left.has(path) ? [`- ${path} = ${left.get(path)}`] : []),
      ...(right.has(path) ? [`+ ${path} = ${right.get(path)}`] : []),
    ])
    .concat(rest);
}

const LONG_LINE = 300;
const MAX_MEMBERS = 8;

/** The lines of both texts: common ones once, the others marked. */
export function explainTexts(real: string, simulated: string): Marked[] {
  const left = real.split('\n');
  const right = simulated.split('\n');
  if (left.length === right.length) {
    return left.flatMap((line, index) => {
      const other = right[index] ?? '';
      return line === other ? [`  ${line}`] : lineDifference(line, other);
    });
  }
  const same = commonLength(left, right);
  const tail = commonLength(left.slice(same).reverse(), right.slice(same).reverse());
  return [
    ...left.slice(0, same).map((line) => `  ${line}`),
    ...left.slice(same, left.length - tail).map((line) => `- ${line}`),
    ...right.slice(same, right.length - tail).map((line) => `+ ${line}`),
    ...left.slice(left.length - tail).map((line) => `  ${line}`),
  ];
}

function commonLength(left: readonly string[], right: readonly string[]): number {
  let same = 0;
  while (same < Math.min(left.length, right.length) && left[same] === right[same]) same++;
  return same;
}
