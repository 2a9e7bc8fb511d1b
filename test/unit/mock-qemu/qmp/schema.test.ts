import { expect, test } from 'vitest';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { JsonStream } from '../../../../mock-qemu/qmp/json-stream.ts';
import { isWireObject } from '../../../../mock-qemu/qmp/json-value.ts';
import { ArgumentChecker } from '../../../../mock-qemu/qmp/schema.ts';

function check(command: string, text: string, profile = 'qemu-7.2') {
  const stream = new JsonStream();
  stream.feed(new TextEncoder().encode(text));
  const item = stream.next();
  if (!item || !('value' in item) || !isWireObject(item.value)) throw new Error(`not an object: ${text}`);
  return new ArgumentChecker(profileNamed(profile)).check(command, item.value);
}

const mirror = (extra: string) => `{"device":"d","target":"t","sync":"full"${extra}}`;

// Texts seen on QEMU 7.2; test/qemu/protocol.test.ts asks the real one about many more.
test.each([
  ['block-stream', '{}', "Parameter 'device' is missing"],
  ['block-stream', '{"device":"d","x":1}', "Parameter 'x' is unexpected"],
  ['block-stream', '{"device":"d","speed":null}', "Invalid parameter type for 'speed', expected: integer"],
  ['block-stream', '{"device":"d","speed":1.0}', "Invalid parameter type for 'speed', expected: integer"],
  [
    'block-stream',
    '{"device":"d","speed":9223372036854775808}',
    "Invalid parameter type for 'speed', expected: integer",
  ],
  ['block-stream', '{"device":"d","on-error":"bogus"}', "Parameter 'on-error' does not accept value 'bogus'"],
  ['blockdev-mirror', mirror(',"granularity":4294967296'), "Parameter 'granularity' expects uint32_t"],
  ['blockdev-mirror', mirror(',"granularity":"1"'), "Parameter 'granularity' expects uint64"],
  ['block-job-cancel', '{"device":"d","force":1}', "Invalid parameter type for 'force', expected: boolean"],
  ['blockdev-add', '{"node-name":"n"}', "Parameter 'driver' is missing"],
  ['blockdev-add', '{"driver":"qcow2"}', "Parameter 'file' is missing"],
  ['blockdev-add', '{"driver":"qcow2","file":1}', "Invalid parameter type for 'file', expected: BlockdevRef"],
  ['blockdev-add', '{"driver":"qcow2","file":{"driver":"file"}}', "Parameter 'file.filename' is missing"],
  [
    'transaction',
    '{"actions":[{"type":"blockdev-snapshot-sync","data":{}}]}',
    "Parameter 'actions[0].data.snapshot-file' is missing",
  ],
])('%s %s: %s', (command, args, desc) => {
  expect(check(command, args)).toEqual({ ok: false, error: { class: 'GenericError', desc } });
});

test('arguments come out plain and exact', () => {
  expect(check('block-stream', '{"device":"d","speed":9223372036854775807}')).toEqual({
    ok: true,
    args: { device: 'd', speed: 9223372036854775807n },
  });
  // Unsigned 64 bits take a negative number as its bits.
  expect(check('block-set-write-threshold', '{"node-name":"n","write-threshold":-1}')).toEqual({
    ok: true,
    args: { 'node-name': 'n', 'write-threshold': 2n ** 64n - 1n },
  });
});

test('what a generation has is what its schema says', () => {
  const change = '{"id":"j","type":"mirror","copy-mode":"write-blocking"}';
  expect(check('block-job-change', change, 'qemu-10.0').ok).toBe(true);
  expect(() => check('block-job-change', change)).toThrow('block-job-change');
});
