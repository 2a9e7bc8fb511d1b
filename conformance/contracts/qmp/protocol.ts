/** The QMP protocol itself: what is said to bytes of every kind, before and after negotiation. */
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { Monitor, replyOf } from '../../qmp/monitor.ts';
import { isObject, objectAt, type WireMessage, type WireValue } from '../../wire.ts';

/** Input, and what it is answered with. */
export interface ProtocolRow {
  readonly id: string;
  readonly title: string;
  /** Sent before any negotiation. */
  readonly early?: true;
  /** Sent one after the other. */
  readonly input: readonly string[];
  readonly replies: readonly WireMessage[];
}

type Text = readonly [id: string, input: string, desc: string, errorClass?: string];

const error = (desc: string, errorClass = 'GenericError', id?: WireValue): WireMessage => ({
  error: { class: errorClass, desc },
  ...(id === undefined ? {} : { id }),
});

const NEGOTIATE = "Expecting capabilities negotiation with 'qmp_capabilities'";

const ERRORS: readonly Text[] = [
  ['unknown-command', '{"execute":"nosuch"}', 'The command nosuch has not been found', 'CommandNotFound'],
  ['number-as-request', '5\n', 'QMP input must be a JSON object'],
  ['array-as-request', '[1]', 'QMP input must be a JSON object'],
  ['string-as-request', '"s"', 'QMP input must be a JSON object'],
  ['null-as-request', 'null\n', 'QMP input must be a JSON object'],
  ['empty-request', '{}', "QMP input lacks member 'execute'"],
  ['execute-no-string', '{"execute":1}', "QMP input member 'execute' must be a string"],
  [
    'arguments-no-object',
    '{"execute":"query-name","arguments":[]}',
    "QMP input member 'arguments' must be an object",
  ],
  ['extra-member', '{"execute":"query-name","foo":1}', "QMP input member 'foo' is unexpected"],
  ['exec-oob-not-negotiated', '{"exec-oob":"query-name"}', "QMP input member 'exec-oob' is unexpected"],
  ['argument-missing', '{"execute":"block-job-cancel"}', "Parameter 'device' is missing"],
  ['argument-unknown', '{"execute":"query-name","arguments":{"x":1}}', "Parameter 'x' is unexpected"],
  [
    'argument-no-boolean',
    '{"execute":"block-job-cancel","arguments":{"device":"j","force":1}}',
    "Invalid parameter type for 'force', expected: boolean",
  ],
  [
    'argument-no-integer',
    '{"execute":"block-job-set-speed","arguments":{"device":"j","speed":1.0}}',
    "Invalid parameter type for 'speed', expected: integer",
  ],
  [
    'argument-null',
    '{"execute":"block-job-cancel","arguments":{"device":"j","force":null}}',
    "Invalid parameter type for 'force', expected: boolean",
  ],
  [
    'argument-no-enum',
    '{"execute":"block-stream","arguments":{"device":"d","on-error":"bogus"}}',
    "Parameter 'on-error' does not accept value 'bogus'",
  ],
  [
    'argument-beyond-uint32',
    '{"execute":"blockdev-mirror","arguments":{"device":"d","target":"t","sync":"full","granularity":4294967296}}',
    "Parameter 'granularity' expects uint32_t",
  ],
  [
    'argument-nested',
    '{"execute":"transaction","arguments":{"actions":[{"type":"blockdev-snapshot-sync","data":{"device":"d"}}]}}',
    "Parameter 'actions[0].data.snapshot-file' is missing",
  ],
  [
    'negotiated-twice',
    '{"execute":"qmp_capabilities"}',
    'Capabilities negotiation is already complete, command ignored',
    'CommandNotFound',
  ],
  ['json-stray-token', '@\n', "JSON parse error, stray '@'"],
  ['json-keyword', 'tru\n', "JSON parse error, invalid keyword 'tru'"],
  [
    'json-duplicate-key',
    '{"execute":"query-name","execute":"query-name"}',
    'JSON parse error, duplicate key',
  ],
  ['json-no-colon', '{"execute" 1}', 'JSON parse error, missing : in object pair'],
  ['json-key-no-string', '{1:2}', 'JSON parse error, key is not a string in object'],
  ['json-no-separator', '{"a":1 "b":2}', 'JSON parse error, expected separator in dict'],
  ['json-list-separator', '[1 2]', 'JSON parse error, expected separator in list'],
];

const EARLY: readonly Text[] = [
  ['early-command', '{"execute":"query-version"}', NEGOTIATE, 'CommandNotFound'],
  ['early-unknown-command', '{"execute":"nosuch"}', NEGOTIATE, 'CommandNotFound'],
  [
    'early-capability-unknown',
    '{"execute":"qmp_capabilities","arguments":{"enable":["bogus"]}}',
    "Parameter 'null' does not accept value 'bogus'",
  ],
  [
    'early-capability-type',
    '{"execute":"qmp_capabilities","arguments":{"enable":"oob"}}',
    "Invalid parameter type for 'enable', expected: array",
  ],
  ['early-empty-request', '{}', "QMP input lacks member 'execute'"],
];

const textRows = (texts: readonly Text[], early: boolean): readonly ProtocolRow[] =>
  texts.map(([id, input, desc, errorClass]) => ({
    id,
    title: `${input.trim()} is answered with: ${desc}`,
    input: [input],
    replies: [error(desc, errorClass)],
    ...(early ? { early: true } : {}),
  }));

const ROWS: readonly ProtocolRow[] = [
  ...textRows(EARLY, true),
  ...textRows(ERRORS, false),
  {
    id: 'id-echoed',
    title: 'An id of any kind comes back as it was, with a return and with an error',
    input: [
      '{"execute":"query-name","id":{"a":[1,null]}}',
      '{"execute":"nosuch","id":[]}',
      '{"execute":"query-name","id":null}',
    ],
    replies: [
      { return: {}, id: { a: [1, null] } },
      error('The command nosuch has not been found', 'CommandNotFound', []),
      { return: {}, id: null },
    ],
  },
  {
    id: 'requests-in-one-piece',
    title: 'Requests that arrive together are answered in order',
    input: ['{"execute":"query-name","id":1}{"execute":"nosuch","id":2} {"execute":"query-name","id":3}'],
    replies: [
      { return: {}, id: 1 },
      error('The command nosuch has not been found', 'CommandNotFound', 2),
      { return: {}, id: 3 },
    ],
  },
  {
    id: 'request-in-pieces',
    title: 'A request may arrive in pieces, with white space between all tokens',
    input: ['{ "exec', 'ute" :', '\t"query-name" , "id"', ': "x" }'],
    replies: [{ return: {}, id: 'x' }],
  },
  {
    id: 'single-quotes',
    title: 'Single-quoted strings are taken',
    input: ["{'execute':'query-name','id':'it\\'s'}"],
    replies: [{ return: {}, id: "it's" }],
  },
  {
    id: 'resynchronised',
    title: 'After a bad token the rest of the message is read as new input',
    input: ['{"a":@}'],
    replies: [error("JSON parse error, stray '@'"), error('JSON parse error, expecting value')],
  },
  {
    id: 'usable-after-errors',
    title: 'A connection goes on after errors',
    input: ['@\n', '{"execute":"query-name","id":1}'],
    replies: [error("JSON parse error, stray '@'"), { return: {}, id: 1 }],
  },
];

/** Every row, with the id of its contract. */
export const protocolRows: readonly ProtocolRow[] = ROWS.map((row) => ({
  ...row,
  id: `qmp/protocol/${row.id}`,
}));

const SOURCE = 'QEMU docs/interop/qmp-spec; monitor/qmp.c, qapi/qmp-dispatch.c, qobject/json-*.c';

const rowContracts: readonly Contract[] = protocolRows.map(({ id, title, early, input, replies }) =>
  example({
    id,
    title,
    source: SOURCE,
    needs: asksName(replies) ? ['qmp', 'qmpUnnamed'] : ['qmp'],
    async check(world) {
      const monitor = early ? (await Monitor.start(world)).monitor : await Monitor.ready(world);
      const before = monitor.received.length;
      for (const piece of input) monitor.send(piece);
      const answers = () => monitor.received.slice(before).filter((message) => message.event === undefined);
      await monitor.until(`${replies.length} replies`, () => answers().length >= replies.length);
      // Whatever else the input was worth would come before the reply to this.
      await monitor.execute('query-name');
      expectEqual(answers().slice(0, -1).map(canonical), replies.map(canonical), 'replies');
    },
  }),
);

/** Whether query-name has to return nothing. */
function asksName(replies: readonly WireMessage[]): boolean {
  return replies.some((reply) => isObject(reply.return));
}

function canonical(message: WireMessage): unknown {
  return { ...replyOf(message), ...('id' in message ? { id: message.id } : {}) };
}

/** The contracts of the protocol. */
export const protocolContracts: readonly Contract[] = [
  ...rowContracts,
  example({
    id: 'qmp/protocol/greeting',
    title: 'The greeting names the version, the package and the capabilities',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const { monitor } = await Monitor.start(world);
      const greeting = objectAt(monitor.received[0] ?? {}, 'QMP');
      const version = objectAt(greeting, 'version');
      const { major, minor, micro } = objectAt(version, 'qemu');
      for (const number of [major, minor, micro])
        expect(Number.isInteger(number), 'the version is three integers');
      expectEqual(typeof version.package, 'string', 'type of the package');
      expect(Array.isArray(greeting.capabilities), 'the capabilities are an array');
    },
  }),
  example({
    id: 'qmp/protocol/negotiation-per-connection',
    title: 'Every connection is greeted and negotiates for itself; jobs do not care',
    source: SOURCE,
    needs: ['qmp'],
    async check(world) {
      const { server, monitor } = await Monitor.start(world);
      await monitor.succeed('qmp_capabilities');
      await monitor.close();
      const second = await Monitor.connect(world, server);
      expect(isObject(second.received[0]?.QMP), 'the second connection is greeted');
      expectEqual<unknown>(
        await second.execute('query-name'),
        error(NEGOTIATE, 'CommandNotFound'),
        'command before the negotiation of the second connection',
      );
      await second.succeed('qmp_capabilities');
      await second.succeed('query-name');
    },
  }),
  example({
    id: 'qmp/protocol/stop-event-first',
    title: 'STOP and RESUME come before the replies, once, and carry no data',
    source: SOURCE,
    needs: ['qmp', 'qmpRunning'],
    async check(world) {
      const monitor = await Monitor.ready(world);
      for (const command of ['stop', 'stop', 'cont', 'cont']) await monitor.succeed(command);
      const seen = monitor.received.slice(2).map((message) => message.event ?? '{}');
      expectEqual<WireValue[]>(seen, ['STOP', '{}', '{}', 'RESUME', '{}', '{}'], 'events and replies');
      const events = monitor.received.filter((message) => message.event !== undefined);
      expect(
        events.every((event) => event.data === undefined),
        'STOP and RESUME carry no data',
      );
      expect(
        events.every((event) => isObject(event.timestamp)),
        'every event has its time',
      );
    },
  }),
  example({
    id: 'qmp/protocol/quit',
    title: 'quit says SHUTDOWN with its reason, and the connection ends',
    source: SOURCE,
    needs: ['qmp', 'qmpEndable'],
    async check(world) {
      const monitor = await Monitor.ready(world);
      monitor.send('{"execute":"quit"}');
      await monitor.until('the end of the connection', () => monitor.isClosed);
      expectEqual(monitor.eventData('SHUTDOWN'), [{ guest: false, reason: 'host-qmp-quit' }], 'SHUTDOWN');
    },
  }),
];
