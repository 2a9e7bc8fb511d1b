/** A page as it is in production: it speaks QMP over a WebSocket, and knows nothing of this package or of msw. */

interface Message {
  readonly event?: string;
  readonly id?: number;
  readonly error?: { readonly desc: string };
  readonly data?: { readonly status?: string; readonly error?: string };
}

const DISK_BYTES = 64 * 1024 ** 2;

/** Copies one disk to another and tells each step to `show`; resolves to the last one. */
export function copyDisk(url: string, show: (step: string) => void): Promise<string> {
  const socket = new WebSocket(url);
  const waiting = new Map<number, (message: Message) => void>();
  const events: Message[] = [];
  let wake = () => {};
  let rest = '';
  let sent = 0;
  socket.addEventListener('message', ({ data }) => {
    const lines = (rest + String(data)).split('\n');
    rest = lines.pop() ?? '';
    for (const message of lines
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as Message))
      if (message.event !== undefined) events.push(message);
      else if (message.id !== undefined) waiting.get(message.id)?.(message);
    wake();
  });
  const execute = (command: string, args: object = {}) =>
    new Promise<void>((resolve, reject) => {
      const id = ++sent;
      waiting.set(id, ({ error }) => (error ? reject(new Error(error.desc)) : resolve()));
      socket.send(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  const event = async (matches: (message: Message) => boolean) => {
    while (!events.some(matches))
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  };
  const node = async (name: string) => {
    const file = { driver: 'file', filename: `/images/${name}` };
    await execute('blockdev-create', { 'job-id': name, options: { ...file, size: DISK_BYTES } });
    await event(({ data }) => data?.status === 'concluded');
    await execute('job-dismiss', { id: name });
    events.length = 0;
    await execute('blockdev-add', { driver: 'raw', 'node-name': name, file });
  };
  return new Promise((resolve, reject) => {
    socket.addEventListener('error', () => reject(new Error(`no connection to ${url}`)));
    socket.addEventListener('open', async () => {
      try {
        await execute('qmp_capabilities');
        await node('source');
        await node('copy');
        await execute('blockdev-mirror', {
          'job-id': 'move',
          device: 'source',
          target: 'copy',
          sync: 'full',
        });
        show('copying');
        await event((message) => message.event === 'BLOCK_JOB_READY');
        show('ready');
        await execute('job-complete', { id: 'move' });
        await event((message) => message.event === 'BLOCK_JOB_COMPLETED');
        show('moved');
        resolve('moved');
      } catch (error) {
        reject(error);
      }
    });
  });
}
