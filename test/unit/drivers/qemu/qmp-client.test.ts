import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { qmpErrorOf } from '../../../../drivers/qemu/errors.ts';
import { QmpClient, type QmpClientOptions } from '../../../../drivers/qemu/qmp-client.ts';
import { parseQmp, type QmpValue, stringifyQmp } from '../../../../drivers/qemu/qmp-json.ts';
import { ErrorCode, VirtError } from '../../../../src/errors.ts';
import type { Timers } from '../../../../src/util/timers.ts';
import { type Answer, FakeServer, GREETING } from './duplex-pair.ts';

/** Timers that only fire when told to. */
function manualTimers(): Timers & { fire(): void; readonly pending: number } {
  const callbacks = new Set<() => void>();
  return {
    now: () => 0,
    after(_delayMs, callback) {
      callbacks.add(callback);
      return () => {
        callbacks.delete(callback);
      };
    },
    fire() {
      for (const callback of [...callbacks]) callback();
    },
    get pending() {
      return callbacks.size;
    },
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);

async function connect(answers: Record<string, Answer> = {}, options: Partial<QmpClientOptions> = {}) {
  const server = new FakeServer(answers);
  const client = await QmpClient.connect(async () => server.duplex, { timers: manualTimers(), ...options });
  return { server, client };
}

/** The VirtError that a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<VirtError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VirtError);
  return error as VirtError;
}

describe('negotiation', () => {
  test('leaves no timer behind and knows the greeting', async () => {
    const timers = manualTimers();
    const { client, server } = await connect({}, { timers });
    expect(client.state).toBe('running');
    expect(client.greeting).toEqual(GREETING);
    expect(server.received).toEqual([{ execute: 'qmp_capabilities' }]);
    expect(timers.pending).toBe(0);
  });

  test.each<[string, QmpValue]>([
    ['no greeting', { return: {} }],
    ['a greeting without a version', { QMP: {} }],
    ['not an object', [1]],
    ['a number', 5],
  ])('%s is no QMP server', async (_what, greeting) => {
    const server = new FakeServer({}, greeting);
    const error = await rejection(QmpClient.connect(async () => server.duplex, { timers: manualTimers() }));
    expect(error.code).toBe(ErrorCode.INTERNAL_ERROR);
    expect(error.outcome).toBe('none');
    expect(server.closed).toBe(true);
  });

  test('a monitor that never answers is given up at the deadline', async () => {
    const timers = manualTimers();
    const server = new FakeServer({ qmp_capabilities: () => undefined });
    const connecting = rejection(
      QmpClient.connect(async () => server.duplex, { timers, greetingTimeoutMs: 7 }),
    );
    await Promise.resolve();
    timers.fire();
    expect((await connecting).message).toContain('within 7 ms');
    expect(server.closed).toBe(true);
  });

  test('a stream that opens after the deadline is closed again', async () => {
    const timers = manualTimers();
    const server = new FakeServer();
    const opening = Promise.withResolvers<void>();
    const open = () => opening.promise.then(() => server.duplex);
    const connecting = rejection(QmpClient.connect(open, { timers }));
    timers.fire();
    opening.resolve();
    expect((await connecting).message).toContain('did not answer');
    expect(server.closed).toBe(true);
  });

  test('a refused negotiation closes the stream', async () => {
    const refusal = { error: { class: 'GenericError', desc: 'no' } };
    const server = new FakeServer({ qmp_capabilities: () => refusal });
    const error = await rejection(QmpClient.connect(async () => server.duplex, { timers: manualTimers() }));
    expect(qmpErrorOf(error)?.desc).toBe('no');
    expect(server.closed).toBe(true);
  });

  test('a stream that cannot be opened gives its own error', async () => {
    const failure = new VirtError(ErrorCode.SYSTEM_ERROR, 'nothing listens');
    const error = await rejection(
      QmpClient.connect(() => Promise.reject(failure), { timers: manualTimers() }),
    );
    expect(error).toBe(failure);
  });
});

describe('commands', () => {
  test('replies are matched by id, in whatever order they come', async () => {
    const { client, server } = await connect({ one: () => undefined, two: () => undefined });
    const one = client.execute('one');
    const two = client.execute('two', { x: 1 });
    server.send({ return: 'second', id: 'libvirt-3' });
    server.send({ return: 'first', id: 'libvirt-2' });
    expect(await Promise.all([one, two])).toEqual(['first', 'second']);
    expect(server.received.slice(1)).toEqual([{ execute: 'one' }, { execute: 'two', arguments: { x: 1 } }]);
  });

  test('a refusal keeps class and description', async () => {
    const { client } = await connect({
      x: () => ({ error: { class: 'DeviceNotActive', desc: "Block job 'x' not found" } }),
    });
    const error = await rejection(client.execute('x'));
    expect(error.code).toBe(ErrorCode.INTERNAL_ERROR);
    expect(error.message).toBe("internal error: unable to execute QEMU command 'x': Block job 'x' not found");
    expect(error.outcome).toBe('none');
    expect(qmpErrorOf(error)).toMatchObject({ class: 'DeviceNotActive', desc: "Block job 'x' not found" });
  });

  test('integers beyond 2^53 are exact both ways', async () => {
    const seen: QmpValue[] = [];
    const { client } = await connect({
      x: (args) => {
        seen.push(args.speed ?? null);
        return { size: 9223372036854775807n };
      },
    });
    expect(await client.execute('x', { speed: 9223372036854775807n })).toEqual({
      size: 9223372036854775807n,
    });
    expect(seen).toEqual([9223372036854775807n]);
  });

  test('events come synchronously and before the promise of a later reply', async () => {
    const order: string[] = [];
    const { client } = await connect({
      x: (_args, server) => {
        server.event('FIRST');
        server.event('SECOND', { a: 1 });
        return {};
      },
    });
    const stop = client.onEvent(({ event }) => order.push(event));
    const done = client.execute('x').then(() => order.push('reply'));
    expect(order).toEqual(['FIRST', 'SECOND']);
    await done;
    stop();
    await client.execute('x');
    expect(order).toEqual(['FIRST', 'SECOND', 'reply']);
  });
});

describe('the end of a connection', () => {
  const hanging = { x: () => undefined, y: () => undefined };

  test.each<[string, Uint8Array, string]>([
    ['invalid JSON', bytes('{"return"\r\n'), 'not JSON'],
    ['invalid UTF-8', new Uint8Array([0xff, 0xfe, 0x0a]), 'invalid UTF-8'],
    ['a non-object', bytes('[]\n'), 'unexpected message'],
    ['an object of no kind', bytes('{"hello":1}\n'), 'unexpected message'],
    ['a second greeting', bytes(`${JSON.stringify(GREETING)}\n`), 'unexpected message'],
    ['an unknown id', bytes('{"return":{},"id":"libvirt-99"}\n'), 'belongs to no command'],
    [
      'an error without an id',
      bytes('{"error":{"class":"GenericError","desc":"x"}}\n'),
      'belongs to no command',
    ],
    ['a line that is too long', bytes(`{"event":"${'x'.repeat(300)}`), 'more than 200 bytes'],
  ])('%s closes it; what was sent has an unknown outcome', async (_what, chunk, text) => {
    const { client, server } = await connect(hanging, { maxLineBytes: 200 });
    const sent = [rejection(client.execute('x')), rejection(client.execute('y'))];
    server.sendBytes(chunk);
    expect(server.closed).toBe(true);
    for (const error of await Promise.all(sent)) {
      expect(error).toMatchObject({ code: ErrorCode.INTERNAL_ERROR, outcome: 'unknown' });
      expect(error.message).toContain(text);
      expect(error.message).toContain('look at the jobs and disks');
    }
    expect((await client.closed)?.message).toContain(text);
    expect(client.state).toBe('closed');
    const after = await rejection(client.execute('x'));
    expect(after).toMatchObject({ code: ErrorCode.INTERNAL_ERROR, outcome: 'none' });
    expect(after.message).toContain("'x' was not sent");
  });

  test('end of file in the middle of a reply says so', async () => {
    const { client, server } = await connect(hanging);
    const sent = rejection(client.execute('x'));
    server.sendBytes(bytes('{"return": {'));
    server.hangUp();
    const error = await sent;
    expect(error.outcome).toBe('unknown');
    expect(error.message).toContain('closed the monitor in the middle of a message');
    expect(error.message).toContain("before 'x' was answered");
  });

  test('end of file with its cause', async () => {
    const { client, server } = await connect(hanging);
    const sent = rejection(client.execute('x'));
    server.hangUp(new Error('ECONNRESET'));
    expect((await sent).message).toContain('ECONNRESET');
    expect((await client.closed)?.message).toContain('unexpectedly closed the monitor');
  });

  test('closing from this side is idempotent and no error for who waits on it', async () => {
    const { client, server } = await connect(hanging);
    const sent = rejection(client.execute('x'));
    client.close();
    client.close();
    expect((await sent).outcome).toBe('unknown');
    expect(await client.closed).toBeUndefined();
    expect(server.closed).toBe(true);
    server.event('LATE');
  });

  test('a listener that closes the connection hears nothing after that', async () => {
    const { client, server } = await connect();
    const heard: string[] = [];
    client.onEvent(({ event }) => {
      heard.push(event);
      client.close();
    });
    const one = '{"event":"A","timestamp":{"seconds":0,"microseconds":0}}\n';
    server.sendBytes(bytes(one + one));
    expect(heard).toEqual(['A']);
  });
});

describe('framing', () => {
  const anyMessages = fc.array(
    fc.record({
      event: fc.string({ unit: 'grapheme', minLength: 1 }),
      data: fc.dictionary(fc.string(), fc.jsonValue()),
    }),
    { maxLength: 8 },
  );

  test('any splitting and gluing of the stream gives the same events', async () => {
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(anyMessages, cuts, async (messages, where) => {
        const stream = bytes(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(''));
        const positions = [...new Set(where.map((at) => at % (stream.length + 1)))].sort((a, b) => a - b);
        const { client, server } = await connect();
        const heard: unknown[] = [];
        client.onEvent((event) => heard.push(event));
        let from = 0;
        for (const to of [...positions, stream.length]) {
          server.sendBytes(stream.subarray(from, to));
          from = to;
        }
        expect(heard).toEqual(parseQmp(JSON.stringify(messages)));
        client.close();
      }),
    );
  });

  test('JSON survives a round trip, large integers included', () => {
    const value = fc.oneof(
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
      fc.maxSafeInteger(),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.array(value)), (object) => {
        expect(parseQmp(stringifyQmp(object))).toEqual({ ...object });
      }),
    );
  });
});
