import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { profiles } from '../../../../mock-qemu/profiles/index.ts';
import { parseCommandLine } from '../../../../mock-qemu/shells/options.ts';

describe('command line', () => {
  const parse = (...words: string[]) => parseCommandLine(words, {});

  test('without arguments: usage', () => {
    expect(parse()).toMatchObject({ exitCode: 2, refuse: expect.stringContaining('usage: mock-qemu') });
  });

  const names = profiles.map(({ name }) => name).join(', ');
  test.each([
    [['--profile', 'nope'], 2, `mock-qemu: unknown profile 'nope'; valid profiles: ${names}`],
    [
      ['--prof', 'x'],
      2,
      "mock-qemu: unknown option '--prof'; own options: --profile, --without-bug, --seed, --speed, --trace, --faults",
    ],
    [
      ['--profile', 'rhel-6.3', '--without-bug', 'x'],
      2,
      "mock-qemu: profile rhel-6.3 has no bug 'x'; it has: zombieJobAfterFailedOpen",
    ],
    [['--seed', 'x'], 2, 'mock-qemu: --seed x: a whole number is needed'],
    [['--speed=0'], 2, 'mock-qemu: --speed 0: a number above 0 is needed'],
    [['--faults', '/nonexistent'], 2, 'mock-qemu: --faults /nonexistent: ENOENT'],
    [['--control', '/x'], 2, 'mock-qemu: --control /x: unix:PATH is needed'],
    [['--trace'], 2, 'mock-qemu: --trace needs a value'],
    [['-qmp', 'tcp:localhost:4444,server=on'], 1, 'only listening unix sockets and stdio are simulated'],
    [['-mon', 'chardev=c,mode=control'], 1, 'chardev "c" not found'],
    [['-daemonize'], 1, '-daemonize is not simulated'],
  ])('%j is refused in one line', (words, exitCode, text) => {
    const parsed = parse(...words);
    expect(parsed).toMatchObject({ exitCode, refuse: expect.stringContaining(text) });
    expect('refuse' in parsed && parsed.refuse.trimEnd()).not.toContain('\n');
  });

  test.each(names.split(', '))('--profile %s is taken', (name) => {
    expect(parse('--profile', name, '-S')).toMatchObject({ run: { profile: { name } } });
    expect(parse('--help')).toMatchObject({ print: expect.stringContaining(name) });
  });

  test('known bugs are turned off one by one', () => {
    const fixed = ['--without-bug', 'offsetReachesLenEarly', '--without-bug=zombieJobAfterFailedOpen'];
    expect(parse('--profile', 'rhel-6.3', ...fixed, '-S')).toMatchObject({
      run: {
        profile: {
          bugs: {
            offsetReachesLenEarly: false,
            zombieJobAfterFailedOpen: false,
            reopenHangsOnZombieJob: true,
          },
        },
      },
    });
  });

  test('own options and monitors are found among those of QEMU', () => {
    const words = [
      '--seed=7',
      '-S',
      '-chardev',
      'socket,id=c,path=/a,b,server=on'.replace(',b', ''),
      '--speed',
      '10',
    ];
    const monitors = ['-mon', 'chardev=c,mode=control', '-qmp', 'unix:/q,server,nowait', '-pidfile', '/p'];
    const parsed = parseCommandLine([...words, ...monitors], { MOCK_QEMU_PROFILE: 'qemu-10.0' });
    expect(parsed).toMatchObject({
      run: { profile: { name: 'qemu-10.0' }, seed: 7, speed: 10, pidFile: '/p' },
    });
    expect('run' in parsed && new Set(parsed.run.endpoints)).toEqual(
      new Set([
        { type: 'unix', path: '/a' },
        { type: 'unix', path: '/q' },
      ]),
    );
  });

  test('--version looks like QEMU', () => {
    expect(parse('--version')).toEqual({
      print: expect.stringMatching(/^QEMU emulator version 7\.2\.\d+ \(/),
    });
  });
});

describe('process', () => {
  const cli = fileURLToPath(new URL('../../../../mock-qemu/shells/cli.ts', import.meta.url));
  let directory: string;
  let child: ChildProcess | undefined;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'mockvirt-'));
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  });

  const start = (...argv: string[]) => {
    child = spawn(process.execPath, [cli, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    return child;
  };

  async function reach(path: string): Promise<Socket> {
    for (;;) {
      const socket = connect(path);
      const reached = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      });
      if (reached) return socket;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Waits until text has come. */
  async function heard(socket: Socket, text: string): Promise<string> {
    let all = '';
    const collect = (bytes: Uint8Array) => {
      all += bytes;
    };
    socket.on('data', collect);
    while (!all.includes(text)) await once(socket, 'data');
    socket.off('data', collect);
    return all;
  }

  test('one client at a time; SIGTERM ends it in order and leaves nothing behind', async () => {
    const [path, pidFile, trace] = [join(directory, 'qmp'), join(directory, 'pid'), join(directory, 'trace')];
    const started = start(
      '-S',
      '-pidfile',
      pidFile,
      '--trace',
      trace,
      '-qmp',
      `unix:${path},server=on,wait=off`,
    );
    const exited = once(started, 'exit');
    const first = await reach(path);
    await heard(first, 'QMP');
    expect(readFileSync(pidFile, 'utf8')).toBe(`${started.pid}\n`);
    const second = await reach(path);
    const greeting = heard(second, 'QMP');
    let early = true;
    void greeting.then(() => expect(early).toBe(false));
    first.write('{"execute":"qmp_capabilities"}');
    await heard(first, '{"return": {}}');
    early = false;
    first.end();
    await greeting;
    second.write('{"execute":"qmp_capabilities"}');
    await heard(second, '{"return": {}}');
    started.kill('SIGTERM');
    expect(await heard(second, 'SHUTDOWN')).toContain('"reason": "host-signal"');
    expect(await exited).toEqual([0, null]);
    expect([existsSync(path), existsSync(pidFile)]).toEqual([false, false]);
    expect(readFileSync(trace, 'utf8')).toContain('SHUTDOWN');
  });

  test('a monitor on stdio', async () => {
    const started = start('-qmp', 'stdio');
    const exited = once(started, 'exit');
    let text = '';
    started.stdout?.on('data', (bytes) => {
      text += bytes;
    });
    started.stdin?.write('{"execute":"qmp_capabilities"}{"execute":"quit"}');
    expect(await exited).toEqual([0, null]);
    expect(text).toContain('host-qmp-quit');
  });

  test('a fault plan from a file, and a control socket', async () => {
    const [path, control, plan] = ['qmp', 'control', 'plan'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(plan, '[{"at":"monitor.reply","command":"stop","do":"abort"}]');
    const started = start('--faults', plan, `--control=unix:${control}`, '-qmp', `unix:${path},server=on`);
    const exited = once(started, 'exit');
    const remote = await reach(control);
    const ask = (request: unknown): Promise<string> => {
      remote.write(`${JSON.stringify(request)}\n`);
      return heard(remote, '\n');
    };
    expect(await ask({ control: 'list-faults' })).toContain('"command":"stop"');
    expect(await ask({ control: 'advance', ns: 3_600_000_000_000 })).toBe('{"return":{}}\n');
    expect(await ask({ control: 'advance', ns: -1 })).toBe(
      '{"error":"advance: ns is a whole number from 0"}\n',
    );
    expect(await ask({ control: 'x' })).toMatch(/unknown control verb 'x'; verbs: .*, advance"/);
    expect(await ask(5)).toBe('{"error":"a request is one JSON object a line"}\n');
    const client = await reach(path);
    await heard(client, 'QMP');
    client.write('{"execute":"qmp_capabilities"}');
    await heard(client, '{"return": {}}');
    client.write('{"execute":"stop"}');
    expect(await exited).toEqual([null, 'SIGABRT']);
  });
});
