import { expect, test } from 'vitest';
import { dirtyOnTheWire, entriesOf, timelineOf } from '../../../conformance/timeline.ts';

const record = (side: string, ...lines: string[]) => ({ side, trace: lines.join('\n') });

test('entries begin where the work begins, and count time from the first line', () => {
  const trace = [
    '10.000 1 < {"QMP": {}}',
    '10.000 1 > {"execute":"query-version","id":"libvirt-1"}',
    '10.500 1 < {"return": {}, "id": "libvirt-1"}',
    '11.250 1 > {"execute":"stop","id":"libvirt-2"}',
    '11.500 1 < {"event": "STOP"}',
    '11.500 1 < {"error": {}, "id": "libvirt-2"}',
    'no line of a trace',
  ].join('\n');
  expect(entriesOf(trace).map(({ ms, kind }) => [ms, kind])).toEqual([
    [1.25, 'command'],
    [1.5, 'event'],
    [1.5, 'error'],
  ]);
});

test('directories, ids, time stamps and the order of members make no difference', () => {
  const { firstDifference, rows } = timelineOf([
    record(
      'a',
      '1 1 > {"execute":"blockdev-add","arguments":{"filename":"/tmp/x/disk.raw"},"id":"libvirt-7"}',
      '2 1 < {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}',
      '2 1 < {"return": [{"a": 1, "b": 2}], "id": "libvirt-7"}',
    ),
    record(
      'b',
      '9 1 > {"execute":"blockdev-add","arguments":{"filename":"/images/disk.raw"},"id":"libvirt-8"}',
      '9 1 < {"timestamp": {"seconds": 7, "microseconds": 8}, "event": "STOP"}',
      '9 1 < {"return": [{"b": 2, "a": 1}], "id": "libvirt-8"}',
    ),
  ]);
  expect(firstDifference).toBeUndefined();
  expect(rows).toHaveLength(3);
});

test('the first two messages that differ share a row, and what is common later is found again', () => {
  const { firstDifference, rows } = timelineOf([
    record('a', '1 1 < {"event": "A"}', '2 1 < {"event": "X"}', '3 1 < {"event": "C"}'),
    record(
      'b',
      '1 1 < {"event": "A"}',
      '2 1 < {"event": "Y"}',
      '2 1 < {"event": "Z"}',
      '3 1 < {"event": "C"}',
    ),
  ]);
  expect(firstDifference).toBe(1);
  expect(rows.map(({ left, right }) => [left?.text, right?.text])).toEqual([
    ['{"event": "A"}', '{"event": "A"}'],
    ['{"event": "X"}', '{"event": "Y"}'],
    [undefined, '{"event": "Z"}'],
    ['{"event": "C"}', '{"event": "C"}'],
  ]);
});

test.each([
  [['1 1 < {"event": "A"}'], [], 0, 1],
  [[], ['1 1 < {"event": "A"}'], 0, 1],
  [['1 1 < {"event": "A"}'], ['1 1 < {"event": "A"}', '1 1 < {"event": "B"}'], 1, 2],
  [['1 1 < {"event": "A"}', '1 1 < {"event": "B"}'], ['1 1 < {"event": "A"}'], 1, 2],
  [[], [], undefined, 0],
])('a side that ends early differs where it ends: %j, %j', (left, right, difference, count) => {
  const timeline = timelineOf([record('a', ...left), record('b', ...right)]);
  expect([timeline.firstDifference, timeline.rows.length]).toEqual([difference, count]);
});

test('what the wire says of mirrors becomes samples', () => {
  const trace = [
    '1 1 < {"return": [{"type": "mirror", "len": 100, "offset": 25}, {"type": "stream", "len": 9, "offset": 0}]}',
    '3 1 < {"event": "BLOCK_JOB_READY", "data": {"type": "mirror", "len": 100, "offset": 100}}',
  ].join('\n');
  expect(dirtyOnTheWire(trace)).toEqual([
    [0, 75],
    [2, 0],
  ]);
});

test('what a QEMU makes up is no difference: names of nodes, and room on a host; what comes late in a long reply is', () => {
  const reply = (node: string, size: number, end: string) =>
    `0.000 1 < {"return": [{"node-name": "#block${node}", "actual-size": ${size}, "filler": "${'x'.repeat(5000)}", "ro": ${end}}]}`;
  const differs = (left: string, right: string) =>
    timelineOf([
      { side: 'left', trace: left },
      { side: 'right', trace: right },
    ]).firstDifference;
  expect(differs(reply('045', 528384, 'true'), reply('128', 4096, 'true'))).toBeUndefined();
  expect(differs(reply('045', 1, 'true'), reply('045', 1, 'false'))).toBe(0);
});
