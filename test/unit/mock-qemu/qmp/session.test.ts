import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CommandPort, CommandResult } from '../../../../mock-qemu/qmp/command-port.ts';
import type { Json } from '../../../../src/qmp/messages.ts';
import { command, Desk, errorIn, OBLIGING } from './drive.ts';

/** Holds every command back until it is released. */
function slowPort() {
  const started: string[] = [];
  const replies: ((result: CommandResult) => void)[] = [];
  const port: CommandPort = {
    execute: (name, args, reply) => {
      started.push(`${name} ${JSON.stringify(args)}`);
      replies.push(reply);
    },
  };
  const release = () => replies.shift()?.({ ok: true, value: {} });
  return { port, started, release };
}

describe('negotiation', () => {
  test('greets each connection, and each negotiates for itself', () => {
    const desk = new Desk();
    desk.monitor.connect(1);
    expect(JSON.parse(desk.heard()[0] ?? '')).toMatchObject({
      QMP: { version: { qemu: { major: 7, minor: 2 } }, capabilities: ['oob'] },
    });
    expect(desk.say(command('qmp_capabilities'))).toEqual(['{"return": {}}']);
    desk.monitor.connect(2);
    desk.heard(2);
    expect(errorIn(desk.say(command('query-status'), 2)[0])).toEqual({
      class: 'CommandNotFound',
      desc: "Expecting capabilities negotiation with 'qmp_capabilities'",
    });
    expect(desk.say(command('query-status'))).toEqual(['{"return": {}}']);
  });

  test('before it, other errors come out as they are', () => {
    const desk = new Desk();
    desk.monitor.connect(1);
    desk.heard();
    expect(errorIn(desk.say('{}')[0]).desc).toBe("QMP input lacks member 'execute'");
    expect(errorIn(desk.say('{]')[0]).desc).toBe('JSON parse error, expecting value');
    expect(errorIn(desk.say('}')[0]).desc).toBe('JSON parse error, expecting value');
  });

  test('a second one is refused, but argument errors win', () => {
    const desk = new Desk().negotiated();
    expect(errorIn(desk.say(command('qmp_capabilities'))[0])).toEqual({
      class: 'CommandNotFound',
      desc: 'Capabilities negotiation is already complete, command ignored',
    });
    expect(errorIn(desk.say(command('qmp_capabilities', { x: 1 }))[0]).desc).toBe(
      "Parameter 'x' is unexpected",
    );
    const enable = { enable: ['bogus'] };
    expect(errorIn(desk.say(command('qmp_capabilities', enable))[0]).desc).toBe(
      "Parameter 'null' does not accept value 'bogus'",
    );
  });
});

describe('requests', () => {
  test.each([
    ['5 ', 'QMP input must be a JSON object'],
    ['{"id":3}', "QMP input lacks member 'execute'"],
    ['{"execute":7}', "QMP input member 'execute' must be a string"],
    ['{"execute":"query-status","arguments":null}', "QMP input member 'arguments' must be an object"],
    ['{"execute":"query-status","foo":1}', "QMP input member 'foo' is unexpected"],
    ['{"exec-oob":"query-yank"}', "QMP input member 'exec-oob' is unexpected"],
    ['{"execute":"nosuch"}', 'The command nosuch has not been found'],
  ])('%s', (text, desc) => {
    expect(errorIn(new Desk().negotiated().say(text)[0]).desc).toBe(desc);
  });

  test('ids come back verbatim, whatever they are', () => {
    const desk = new Desk().negotiated();
    const isSame = (text: string) => !text.includes('e') && !/[^ -~]/.test(text);
    const ids = fc
      .jsonValue()
      .map((id) => id as Json)
      .filter((id) => isSame(JSON.stringify(id)));
    fc.assert(
      fc.property(ids, (id) => {
        const reply = JSON.parse(desk.say(command('query-status', undefined, id))[0] ?? '') as {
          id: unknown;
        };
        expect(JSON.stringify(reply.id)).toBe(JSON.stringify(id));
      }),
    );
    expect(desk.say('{"execute":"query-status","id":18446744073709551615}')).toEqual([
      '{"return": {}, "id": 18446744073709551615}',
    ]);
  });

  test('several in one chunk are answered in order, one split over chunks once it is whole', () => {
    const desk = new Desk().negotiated();
    expect(
      desk.say('{"execute":"query-status","id":1}{"execute":"query-name","id":2}{"execute":"qu'),
    ).toHaveLength(2);
    expect(desk.say('ery-name","id":3}')).toEqual(['{"return": {}, "id": 3}']);
  });

  test('events reach every negotiated connection and no other, with the time the machine has', () => {
    const desk = new Desk().negotiated(1).negotiated(2);
    desk.monitor.connect(3);
    desk.heard(3);
    desk.monitor.emit('STOP');
    desk.monitor.emit('RESET', { guest: true });
    const head = '{"timestamp": {"seconds": 1700000000, "microseconds": 123456}, ';
    for (const connection of [1, 2]) {
      expect(desk.heard(connection)).toEqual([
        `${head}"event": "STOP"}`,
        `${head}"event": "RESET", "data": {"guest": true}}`,
      ]);
    }
    expect(desk.heard(3)).toEqual([]);
  });
});

describe('one command at a time', () => {
  test('over all connections, which take turns', () => {
    const { port, started, release } = slowPort();
    const desk = new Desk(port).negotiated(1).negotiated(2);
    desk.say(command('query-status', {}, 1) + command('query-name', {}, 2), 1);
    desk.say(command('query-uuid'), 2);
    expect(started).toEqual(['query-status {}']);
    release();
    expect(started).toEqual(['query-status {}', 'query-uuid {}']);
    release();
    release();
    expect(started).toEqual(['query-status {}', 'query-uuid {}', 'query-name {}']);
    expect(desk.heard(1)).toEqual(['{"return": {}, "id": 1}', '{"return": {}, "id": 2}']);
  });

  test('a client that leaves takes its queue along, but what is executing completes', () => {
    const { port, started, release } = slowPort();
    const desk = new Desk(port).negotiated(1).negotiated(2);
    desk.say(command('stop') + command('quit'), 1);
    desk.say(command('cont'), 2);
    desk.monitor.disconnect(1);
    release();
    release();
    expect(started).toEqual(['stop {}', 'cont {}']);
    expect(desk.heard(1)).toEqual([]);
    expect(desk.heard(2)).toEqual(['{"return": {}}']);
  });

  test('out-of-band commands overtake, once that is negotiated', () => {
    const { port, started, release } = slowPort();
    const desk = new Desk(port).negotiated(1, ['oob']);
    desk.say(command('query-status') + command('query-name'));
    desk.say('{"exec-oob":"query-yank","id":9}');
    expect(started).toEqual(['query-status {}', 'query-yank {}']);
    release();
    expect(errorIn(desk.say('{"exec-oob":"query-status"}')[1]).desc).toBe(
      'The command query-status does not support OOB',
    );
  });
});

test('20,000 generated streams over one machine: no crash, and it still answers', { timeout: 30_000 }, () => {
  const parts = [
    ...[
      '{"execute":"query-status"',
      '{"execute":"block-stream","arguments":{"device":',
      '{"exec-oob":"quit"',
      '"id":',
    ],
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '1',
      '"x"',
      ' ',
      '\n',
      '\xff',
      "'",
      '\\u0000',
      'null',
      '{"execute":"nosuch"}',
    ],
  ];
  let state = 7;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let bytesSent = 0;
  const desk = new Desk(OBLIGING).negotiated();
  for (let count = 0; count < 20_000; count++) {
    let text = '';
    for (let left = random(8); left >= 0; left--) text += parts[random(parts.length)];
    desk.monitor.receive(
      1,
      Uint8Array.from(text, (char) => char.charCodeAt(0)),
    );
    if (count % 1000 === 0) bytesSent += desk.heard().join('').length;
  }
  expect(bytesSent).toBeGreaterThan(0);
  const lines = desk.say(
    Uint8Array.of(0xff, 0x0a, ...new TextEncoder().encode(command('query-status', {}, 'end'))),
  );
  expect(lines.at(-1)).toBe('{"return": {}, "id": "end"}');
});
