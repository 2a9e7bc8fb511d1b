import { describe, expect, test } from 'vitest';
import { Clock } from '../../../../mock-qemu/core/clock.ts';
import { CommandError } from '../../../../mock-qemu/core/errors.ts';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { EventGate } from '../../../../mock-qemu/qmp/events.ts';
import { refusalBody } from '../../../../mock-qemu/qmp/refusal.ts';
import type { JsonObject } from '../../../../src/qmp/messages.ts';

const IO_ERROR = {
  device: 'd',
  operation: 'write',
  action: 'report',
  'node-name': 'n',
  'qom-path': '/machine/peripheral/x',
  nospace: true,
  reason: 'No space left on device',
};

/** A gate of a profile, and what passed it. */
function gateOf(profile: string) {
  const clock = new Clock(0);
  const passed: [string, JsonObject | undefined][] = [];
  const send = (event: string, data?: JsonObject) => void passed.push([event, data]);
  return { clock, passed, gate: new EventGate({ profile: profileNamed(profile), clock, send }) };
}

describe('members', () => {
  const { device, operation, action, nospace, reason } = IO_ERROR;
  const common = { device, operation, action };
  test.each([
    ['qemu-10.0', IO_ERROR],
    ['qemu-7.2', { ...common, 'node-name': 'n', nospace, reason }],
    ['qemu-1.3', common],
    [
      'rhel-6.3',
      {
        ...common,
        '__com.redhat_reason': 'enospc',
        '__com.redhat_debug_info': { errno: 28, message: reason },
      },
    ],
  ])('BLOCK_IO_ERROR of %s', (profile, expected) => {
    const { gate, passed } = gateOf(profile);
    gate.emit('BLOCK_IO_ERROR', IO_ERROR);
    expect(passed).toEqual([['BLOCK_IO_ERROR', expected]]);
  });

  test.each([
    ['qemu-7.2', { guest: true, reason: 'guest-shutdown' }],
    ['rhel-6.3', undefined],
  ])('SHUTDOWN of %s', (profile, expected) => {
    const { gate, passed } = gateOf(profile);
    gate.emit('SHUTDOWN', { guest: true, reason: 'guest-shutdown' });
    expect(passed).toEqual([['SHUTDOWN', expected]]);
  });
});

test('events that came later are not emitted', () => {
  const names = ['JOB_STATUS_CHANGE', 'BLOCK_JOB_READY', 'BLOCK_JOB_ERROR', 'BLOCK_JOB_CANCELLED', 'STOP'];
  const heard = (profile: string) => {
    const { gate, passed } = gateOf(profile);
    for (const name of names) gate.emit(name);
    return passed.map(([name]) => name);
  };
  expect(heard('qemu-7.2')).toEqual(names);
  expect(heard('qemu-1.3')).toEqual(names.slice(1));
  expect(heard('rhel-6.3')).toEqual(['BLOCK_JOB_CANCELLED', 'STOP']);
});

test('10.0 lets one I/O error of a device pass in a second, then the last, whatever its action', () => {
  const { gate, clock, passed } = gateOf('qemu-10.0');
  const emit = (reason: string, more: JsonObject = {}) =>
    gate.emit('BLOCK_IO_ERROR', { ...IO_ERROR, reason, ...more });
  const reasons = () => passed.splice(0).map(([, data]) => data?.reason);
  const second = () => clock.advance(1_000_000_000, () => undefined);
  emit('1');
  emit('2');
  emit('3');
  emit('other', { 'qom-path': '/machine/peripheral/y' });
  emit('stop', { action: 'stop' });
  expect(reasons()).toEqual(['1', 'other']);
  second();
  expect(reasons()).toEqual(['stop']);
  second();
  emit('4');
  expect(reasons()).toEqual(['4']);
});

test('a refusal in the words of each generation', () => {
  const error = new CommandError("Cannot find device='x' nor node-name='x'", 'GenericError', {
    kind: 'device-not-found',
    device: 'x',
  });
  const body = (profile: string) => refusalBody(profileNamed(profile).errors, error);
  expect(body('qemu-7.2')).toEqual({
    class: 'GenericError',
    desc: "Cannot find device='x' nor node-name='x'",
  });
  expect(body('qemu-1.3')).toEqual({ class: 'DeviceNotFound', desc: "Device 'x' not found" });
  expect(body('rhel-6.3')).toEqual({
    class: 'DeviceNotFound',
    desc: "Device 'x' not found",
    data: { device: 'x' },
  });
  const between = { ...profileNamed('qemu-7.2').errors, lookup: 'bare' } as const;
  expect(refusalBody(between, error).desc).toBe('Cannot find device=x nor node_name=x');
});
