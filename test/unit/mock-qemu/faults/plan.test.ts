import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ControlError } from '../../../../mock-qemu/core/control.ts';
import type { Value } from '../../../../mock-qemu/core/data.ts';
import { parseFaultPlan } from '../../../../mock-qemu/core/faults/plan.ts';
import { createWorld } from '../../../../mock-qemu/shells/world.ts';
import { faultPointsPage } from '../../../../scripts/fault-points.ts';
import { Bench } from '../commands/bench.ts';

describe('a fault plan', () => {
  test('is taken as it is', () => {
    const plan: Value = [
      { at: 'mirror.target-write', do: 'error', errno: 'ENOSPC', after: 3, times: 1, offset: 0, node: 't' },
      { at: 'monitor.reply', do: 'delay', delayNs: 5, command: 'stop' },
      { at: 'at-time', do: 'exit', code: 2, atNs: 7 },
    ];
    expect(parseFaultPlan(plan)).toEqual(plan);
  });

  test.each([
    [{}, 'a fault plan is a list of faults'],
    [[5], 'fault 1: a fault is an object like {"at": POINT, "do": ACTION}'],
    [[{ at: 'x', do: 'error' }], /^fault 1: unknown point "x"; points: mirror\.target-created, .*at-time$/],
    [
      [{ at: 'at-time', do: 'x' }],
      /^fault 1: unknown action "x"; actions at at-time: stall, close, crash, .*guest-panic$/,
    ],
    [
      [{ at: 'monitor.command', do: 'error' }],
      /^fault 1: 'error' is not possible at monitor\.command; actions there: delay, stall, close, /,
    ],
    [
      [{ at: 'stream.read', do: 'error', delayNs: 1 }],
      "fault 1: member 'delayNs' is unknown here; members: at, do, after, times, atNs, untilNs, offset, node, errno",
    ],
    [[{ at: 'stream.read', do: 'error', errno: 'EFOO' }], /^fault 1: unknown errno "EFOO"; errnos: EPERM, /],
    [[{ at: 'stream.read', do: 'error', after: -1 }], 'fault 1: after is a whole number from 0'],
    [[{ at: 'stream.read', do: 'error', node: 1 }], 'fault 1: node is a text'],
    [[{ at: 'stream.read', do: 'delay' }], "fault 1: 'delay' at stream.read needs delayNs"],
    [[{ at: 'at-time', do: 'crash' }], "fault 1: 'crash' at at-time needs atNs"],
  ] as const)('%j is refused in one line', (plan, complaint) => {
    expect(() => parseFaultPlan(plan)).toThrow(complaint);
  });

  test('has its documentation from its tables', () => {
    const path = new URL('../../../../docs/fault-points.md', import.meta.url);
    expect(readFileSync(path, 'utf8')).toBe(faultPointsPage());
  });
});

describe('control', () => {
  test('adds, lists and clears faults', () => {
    const { qemu } = new Bench();
    const faults = [{ at: 'monitor.reply', do: 'drop' }];
    qemu.control({ control: 'add-faults', faults });
    expect(qemu.control({ control: 'list-faults' })).toEqual([{ fault: faults[0], seen: 0, happened: 0 }]);
    qemu.control({ control: 'clear-faults' });
    expect(qemu.control({ control: 'list-faults' })).toEqual([]);
  });

  test.each([
    [{ control: 'x' }, /^unknown control verb 'x'; verbs: add-faults, /],
    [{ control: 'clear-faults', x: 1 }, "clear-faults: unknown member 'x'; members: none"],
    [{ control: 'add-faults' }, 'add-faults: faults is missing'],
    [{ control: 'add-faults', faults: [{}] }, /^fault 1: unknown point null; points: /],
    [{ control: 'guest', do: 'dance' }, 'unknown doing "dance"; doings: shutdown, reset, panic'],
    [{ control: 'guest', do: 'reset' }, 'the guest does not run'],
    [{ control: 'guest-io', disk: 'x', op: 'read' }, 'no such disk: "x"'],
    [
      { control: 'guest-io', disk: 'virtio-disk0', op: 'x' },
      'unknown op "x"; ops: read, write, flush, discard',
    ],
    [{ control: 'set-capacity', path: '/none', bytes: 1 }, 'no such file: "/none"'],
    [
      { control: 'set-capacity', path: '/img/top', bytes: -1 },
      'bytes is a whole number from 0, or null for no limit',
    ],
  ] as const)('%j is refused in one line', (request, complaint) => {
    const { qemu } = new Bench();
    expect(() => qemu.control(request)).toThrow(ControlError);
    expect(() => qemu.control(request)).toThrow(complaint);
  });

  test('reaches a machine of a world, which also takes a plan at its start', async () => {
    const world = createWorld({ seed: 1 });
    const faults = [{ at: 'at-time', atNs: 1_000_000, do: 'exit', code: 5 }];
    const planned = world.boot({ profile: 'qemu-7.2', argv: [], faults });
    expect(await planned.exited).toEqual({ code: 5, signal: null });
    const controlled = world.boot({ profile: 'qemu-7.2', argv: [] });
    controlled.control({ control: 'guest', do: 'shutdown' });
    expect(await controlled.exited).toEqual({ code: 0, signal: null });
    expect(() => controlled.control({ control: 'clear-faults' })).toThrow('the process has ended');
    expect(() => world.boot({ profile: 'qemu-7.2', argv: [], faults: [{}] })).toThrow(
      'fault 1: unknown point',
    );
    world.close();
  });
});
