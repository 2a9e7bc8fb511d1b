import { describe, expect, test } from 'vitest';
import type { Fault } from '../../../../mock-qemu/core/faults/plan.ts';
import { Bench, chainArgv } from '../commands/bench.ts';

const SECOND_NS = 1_000_000_000;

function withFaults(...faults: Fault[]): Bench {
  const bench = new Bench();
  for (const fault of faults) bench.qemu.vm.addFault(fault);
  return bench;
}

/** Sends a command and lets virtual time pass; the log is what came of it. */
function sendAndIdle(bench: Bench, execute: string): string[] {
  bench.send(execute);
  bench.idle();
  return bench.heard();
}

const reply = { at: 'monitor.reply', command: 'query-name' } as const;

describe('a reply', () => {
  test('is lost: the command was executed and the connection lives', () => {
    const bench = withFaults({ at: 'monitor.reply', command: 'cont', do: 'drop' });
    expect(sendAndIdle(bench, 'cont')).toEqual(['RESUME']);
    expect(bench.run('query-status')).toMatchObject({ running: true });
  });

  test('is late, and others do not overtake it', () => {
    const bench = withFaults({ ...reply, do: 'delay', delayNs: SECOND_NS, times: 1 });
    bench.send('query-name');
    expect(bench.qemu.vm.clock.now()).toBeGreaterThanOrEqual(SECOND_NS);
    expect(bench.heard()).toEqual(['{}']);
  });

  test('is cut off, at half or where the plan says', () => {
    const cut = (bytes?: number): string => {
      const bench = withFaults({ ...reply, do: 'truncate', ...(bytes !== undefined && { bytes }) });
      expect(sendAndIdle(bench, 'query-name')).toEqual(['closed']);
      return bench.heardBytes.at(-1) ?? '';
    };
    expect(cut()).toBe('{"return');
    expect(cut(3)).toBe('{"r');
  });

  test('never comes because the connection ends; the next client is served', () => {
    const bench = withFaults({ at: 'monitor.reply', command: 'cont', do: 'close' });
    expect(sendAndIdle(bench, 'cont')).toEqual(['RESUME', 'closed']);
    bench.qemu.vm.faults.clear();
    bench.input({ type: 'connect', connection: 2 });
    expect(bench.heardBytes.at(-1)).toContain('"QMP"');
    expect(bench.qemu.vm.running).toBe(true);
  });
});

describe('a command', () => {
  test('is not executed when the connection ends before', () => {
    const bench = withFaults({ at: 'monitor.command', command: 'cont', do: 'close' });
    expect(sendAndIdle(bench, 'cont')).toEqual(['closed']);
    expect(bench.qemu.vm.running).toBe(false);
  });

  test('waits while all commands are stalled; events go on', () => {
    const bench = withFaults({ at: 'monitor.command', command: 'cont', do: 'stall', delayNs: SECOND_NS });
    bench.send('cont');
    expect(bench.qemu.vm.clock.now()).toBeGreaterThanOrEqual(SECOND_NS);
    const stalled = withFaults({ at: 'at-time', atNs: 500_000, do: 'stall', delayNs: SECOND_NS });
    stalled.idle();
    stalled.send('query-name');
    expect(stalled.qemu.vm.clock.now()).toBeGreaterThanOrEqual(SECOND_NS);
  });
});

describe('a greeting', () => {
  test.each([
    ['drop', []],
    ['close', ['closed']],
    ['truncate', ['closed']],
  ] as const)('%s', (action, expected) => {
    const bench = withFaults({ at: 'monitor.greeting', do: action });
    bench.input({ type: 'connect', connection: 2 });
    expect(bench.heard()).toEqual(expected);
  });
});

describe('events', () => {
  test('are lost or late, in order', () => {
    const lost = withFaults({ at: 'monitor.event', event: 'RESUME', do: 'drop' });
    expect(sendAndIdle(lost, 'cont')).toEqual(['{}']);
    const late = withFaults({ at: 'monitor.event', event: 'RESUME', do: 'delay', delayNs: SECOND_NS });
    late.send('cont');
    late.send('stop');
    late.idle();
    expect(late.heard()).toEqual(['{}', '{}', 'RESUME', 'STOP']);
  });

  test('of a job change places with a reply, never with each other', () => {
    const device = 'libvirt-1-format';
    const bench = withFaults({ at: 'monitor.event', do: 'reorder', event: 'JOB_STATUS_CHANGE' });
    bench.send('block-stream', { device, 'job-id': 's' });
    bench.idle();
    const heard = bench.heard();
    expect(heard.filter((each) => each !== '{}')).toEqual([
      's:created',
      's:running',
      's:waiting',
      's:pending',
      'BLOCK_JOB_COMPLETED',
      's:concluded',
      's:null',
    ]);
    expect(heard.slice(0, 3)).toEqual(['s:created', '{}', 's:running']);
  });

  test('end all connections', () => {
    const bench = withFaults({ at: 'monitor.event', event: 'RESUME', do: 'close' });
    expect(sendAndIdle(bench, 'cont')).toEqual(['closed']);
  });
});

describe('the process', () => {
  test.each([
    ['crash', null, 'SIGKILL'],
    ['abort', null, 'SIGABRT'],
    ['exit', 1, null],
  ] as const)('%s', (action, code, signal) => {
    const bench = withFaults({ at: 'at-time', atNs: SECOND_NS, do: action });
    bench.idle();
    expect([bench.exit, bench.signal]).toEqual([code, signal]);
    expect(bench.heard()).toEqual(['closed']);
  });

  test('exits with the status that the plan says', () => {
    const bench = withFaults({ at: 'monitor.command', do: 'exit', code: 3 });
    bench.send('query-name');
    expect(bench.exit).toBe(3);
  });

  test('hangs with its socket open until it is killed', () => {
    const bench = withFaults({ at: 'monitor.command', do: 'hang' });
    bench.send('query-name');
    bench.input({ type: 'connect', connection: 2 });
    bench.input({ type: 'signal', signal: 'SIGTERM' });
    bench.idle();
    expect(bench.heard()).toEqual([]);
    expect(bench.exit).toBeUndefined();
    expect(bench.store.open('/img/top').locks.counts.writers).toBe(1);
    bench.input({ type: 'signal', signal: 'SIGKILL' });
    expect(bench.signal).toBe('SIGKILL');
    expect(bench.store.open('/img/top').locks.counts.writers).toBe(0);
  });
});

/** A guest that runs and does something at second 1. */
function guestDoes(action: 'guest-shutdown' | 'guest-reset' | 'guest-panic', ...argv: string[]): Bench {
  const bench = new Bench([...chainArgv(), ...argv]);
  bench.run('cont');
  bench.qemu.vm.addFault({ at: 'at-time', atNs: SECOND_NS, do: action });
  bench.heard();
  bench.idle();
  return bench;
}

describe('the guest', () => {
  test('shuts down: the process ends, or waits for its end with -no-shutdown', () => {
    const gone = guestDoes('guest-shutdown');
    expect([gone.heard(), gone.exit]).toEqual([['SHUTDOWN', 'closed'], 0]);
    const stays = guestDoes('guest-shutdown', '-no-shutdown');
    expect(stays.heard()).toEqual(['SHUTDOWN', 'STOP']);
    expect(stays.run('query-status')).toMatchObject({ status: 'shutdown' });
    expect(stays.run('cont')).toBe('Resetting the Virtual Machine is required');
  });

  test('resets, or with -no-reboot ends', () => {
    const reset = guestDoes('guest-reset');
    expect([reset.heard(), reset.exit]).toEqual([['RESET'], undefined]);
    const gone = guestDoes('guest-reset', '-no-reboot');
    expect([gone.heard(), gone.exit]).toEqual([['SHUTDOWN', 'closed'], 0]);
  });

  test('panics: powered off, paused, or left alone', () => {
    const off = guestDoes('guest-panic');
    expect([off.heard(), off.exit]).toEqual([['GUEST_PANICKED', 'STOP', 'SHUTDOWN', 'closed'], 0]);
    const paused = guestDoes('guest-panic', '-action', 'panic=pause');
    expect([paused.heard(), paused.exit]).toEqual([['GUEST_PANICKED', 'STOP'], undefined]);
    expect(paused.run('query-status')).toMatchObject({ status: 'guest-panicked' });
    expect(guestDoes('guest-panic', '-action', 'panic=none').heard()).toEqual(['GUEST_PANICKED']);
  });

  test('ends as set-action says', () => {
    const bench = new Bench();
    bench.run('cont');
    expect(bench.run('set-action', { panic: 'pause' })).toEqual({});
    bench.qemu.control({ control: 'guest', do: 'panic' });
    expect(bench.run('system_wakeup')).toBe('Unable to wake up: guest is not in suspended state');
    expect(bench.heard().slice(-3)).toEqual(['GUEST_PANICKED', 'STOP', 'error']);
  });

  test('does nothing while its CPUs stand still', () => {
    const bench = withFaults({ at: 'at-time', atNs: SECOND_NS, do: 'guest-shutdown' });
    bench.idle();
    expect(bench.heard()).toEqual([]);
  });
});
