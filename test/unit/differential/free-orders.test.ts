import { expect, test } from 'vitest';
import { inFixedOrder } from '../../differential/free-orders.ts';
import type { Step } from '../../differential/script.ts';

const CREATED = '{"data":{"id":"j1","status":"created"},"event":"JOB_STATUS_CHANGE"}';
const READY =
  '{"data":{"device":"j1","len":8,"offset":8,"speed":0,"type":"mirror"},"event":"BLOCK_JOB_READY"}';
const REPLY = '{"return":{}}';

const add = (driver: string, name: string): Step => ({
  execute: 'blockdev-add',
  arguments: { driver, 'node-name': name },
});
const mirror: Step = { execute: 'blockdev-mirror', arguments: { device: 'copy', target: 'n1' } };

const isFree = (...steps: readonly Step[]): boolean => {
  const fixed = (...lines: readonly string[]) => inFixedOrder(lines, 'qemu-7.2', steps).join();
  return fixed(CREATED, REPLY, READY) === fixed(CREATED, READY, REPLY);
};

test('a mirror to or from a node without a file may be READY before its reply, no other may', () => {
  expect(isFree(add('null-co', 'n1'), mirror)).toBe(true);
  expect(isFree(add('null-aio', 'copy'), mirror)).toBe(true);
  expect(isFree(add('null-co', 'n2'), mirror)).toBe(false);
  expect(isFree(add('raw', 'n1'), mirror)).toBe(false);
  expect(isFree(mirror, add('null-co', 'n1'))).toBe(false);
});
