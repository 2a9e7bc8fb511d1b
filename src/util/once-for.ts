/** Text that is made once for each object, for objects that never change. */
export function onceFor<K extends object>(write: (key: K) => string): (key: K) => string {
  const written = new WeakMap<K, string>();
  return (key) => {
    const text = written.get(key) ?? write(key);
    written.set(key, text);
    return text;
  };
}
