import { describe, expect, test } from 'vitest';
import { profileNamed } from '../../../../mock-qemu/profiles/index.ts';
import { command, Desk, errorIn } from '../qmp/drive.ts';

describe('rhel-6.3 speaks the richer errors of its time', () => {
  const desk = () => new Desk(undefined, profileNamed('rhel-6.3')).negotiated();

  test('greeting', () => {
    const fresh = new Desk(undefined, profileNamed('rhel-6.3'));
    fresh.monitor.connect(1);
    expect(JSON.parse(fresh.heard()[0] ?? '')).toEqual({
      QMP: {
        version: { qemu: { micro: 1, minor: 12, major: 0 }, package: '(qemu-kvm-0.12.1.2)' },
        capabilities: [],
      },
    });
    expect(errorIn(fresh.say(command('query-status'))[0])).toEqual({
      class: 'CommandNotFound',
      desc: 'The command query-status has not been found',
      data: { name: 'query-status' },
    });
  });

  test.each([
    [command('nosuch'), 'CommandNotFound', 'The command nosuch has not been found', { name: 'nosuch' }],
    [
      command('__com.redhat_drive-mirror', { device: 'd' }),
      'MissingParameter',
      "Parameter 'target' is missing",
      { name: 'target' },
    ],
    [
      command('block-job-cancel', { device: 'd', x: 1 }),
      'InvalidParameter',
      "Invalid parameter 'x'",
      { name: 'x' },
    ],
    [
      command('block-job-cancel', { device: 1 }),
      'InvalidParameterType',
      'Invalid parameter type, expected: string',
      { name: 'device', expected: 'string' },
    ],
    ['{]', 'JSONParsing', 'Invalid JSON syntax', {}],
    ['5 ', 'QMPBadInputObject', "Expected 'object' in QMP input", { expected: 'object' }],
    [
      '{"execute":1}',
      'QMPBadInputObjectMember',
      "QMP input object member 'execute' expects 'string'",
      { member: 'execute', expected: 'string' },
    ],
    [
      '{"execute":"stop","x":1}',
      'QMPExtraInputObjectMember',
      "QMP input object member 'x' is unexpected",
      { member: 'x' },
    ],
  ])('%s', (text, errorClass, desc, data) => {
    expect(errorIn(desk().say(text)[0])).toEqual({ class: errorClass, desc, data });
  });
});

test('qemu-1.3 checks what is missing before what is unknown, and names only a bad value', () => {
  const desk = new Desk(undefined, profileNamed('qemu-1.3')).negotiated();
  const mirror = { device: 'd', target: 't', sync: 'full' };
  expect(errorIn(desk.say(command('drive-mirror', { x: 1 }))[0]).desc).toBe("Parameter 'device' is missing");
  expect(errorIn(desk.say(command('drive-mirror', { ...mirror, x: 1 }))[0]).desc).toBe(
    "Invalid parameter 'x'",
  );
  expect(errorIn(desk.say(command('drive-mirror', { ...mirror, sync: 'all' }))[0])).toEqual({
    class: 'GenericError',
    desc: "Invalid parameter 'all'",
  });
  expect(desk.say(command('drive-mirror', mirror))).toEqual(['{"return": {}}']);
});
