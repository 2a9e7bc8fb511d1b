import { describe, expect, test } from 'vitest';
import {
  alterCommand,
  alterEntries,
  answerCommand,
  commandOnEvent,
  followStatus,
  jobsSeen,
  onEvent,
  replaceCommand,
} from '../../../conformance/mutations.ts';
import { composeMutations, type WireMessage, type WireMutation } from '../../../conformance/wire.ts';

/** Both ends of a mutated wire, as what each of them gets. */
function wire(mutation: WireMutation) {
  const atQemu: WireMessage[] = [];
  const atDriver: WireMessage[] = [];
  const toQemu = (message: WireMessage) => void atQemu.push(message);
  const toDriver = (message: WireMessage) => void atDriver.push(message);
  return {
    atQemu,
    atDriver,
    command(execute: string, args: WireMessage = {}, id: string | number = 1) {
      const message = { execute, arguments: args, id };
      if (mutation.toQemu) mutation.toQemu(message, { forward: toQemu, back: toDriver });
      else toQemu(message);
    },
    answer(message: WireMessage) {
      if (mutation.fromQemu) mutation.fromQemu(message, { forward: toDriver, back: toQemu });
      else toDriver(message);
    },
  };
}

const status = (id: string, value: string): WireMessage => ({
  event: 'JOB_STATUS_CHANGE',
  data: { id, status: value },
});

describe('a mutation of the wire', () => {
  test('alters, replaces and answers commands', () => {
    const ends = wire(
      composeMutations(
        alterCommand('a', (args) => ({ ...args, speed: 1 })),
        replaceCommand('b', () => ({ execute: 'c', arguments: {} })),
        answerCommand('d', () => 'done'),
      ),
    );
    ends.command('a', { speed: 9, id: 'x' });
    ends.command('b');
    ends.command('d', {}, 7);
    expect(ends.atQemu).toEqual([
      { execute: 'a', arguments: { speed: 1, id: 'x' }, id: 1 },
      { execute: 'c', arguments: {}, id: 1 },
    ]);
    expect(ends.atDriver).toEqual([{ return: 'done', id: 7 }]);
  });

  test('alters only the replies of its own command, and no errors', () => {
    const ends = wire(alterEntries('query', (entry) => ({ ...entry, offset: 0 })));
    ends.command('query', {}, 1);
    ends.command('other', {}, 2);
    ends.command('query', {}, 3);
    ends.answer({ return: [{ offset: 5 }], id: 1 });
    ends.answer({ return: [{ offset: 5 }], id: 2 });
    ends.answer({ error: { class: 'GenericError', desc: 'no' }, id: 3 });
    expect(ends.atDriver).toEqual([
      { return: [{ offset: 0 }], id: 1 },
      { return: [{ offset: 5 }], id: 2 },
      { error: { class: 'GenericError', desc: 'no' }, id: 3 },
    ]);
  });

  test('drops, doubles and invents events', () => {
    const ends = wire(
      composeMutations(
        onEvent('DROP', () => {}),
        onEvent('TWICE', (_data, message, port) => {
          port.forward(message);
          port.forward(message);
        }),
        followStatus('running', 'ready'),
      ),
    );
    ends.answer({ event: 'DROP' });
    ends.answer({ event: 'TWICE' });
    ends.answer(status('j', 'running'));
    expect(ends.atDriver).toEqual([
      { event: 'TWICE' },
      { event: 'TWICE' },
      status('j', 'running'),
      status('j', 'ready'),
    ]);
  });

  test('sends commands of its own, and keeps their replies to itself', () => {
    const ends = wire(
      commandOnEvent('JOB_STATUS_CHANGE', ({ id = null, status: value }) =>
        value === 'ready' ? { execute: 'job-pause', arguments: { id } } : undefined,
      ),
    );
    ends.answer(status('j', 'running'));
    ends.answer(status('j', 'ready'));
    expect(ends.atQemu).toEqual([{ execute: 'job-pause', arguments: { id: 'j' }, id: 'canary-1' }]);
    ends.answer({ return: {}, id: 'canary-1' });
    ends.answer({ return: {}, id: 'driver-1' });
    expect(ends.atDriver.slice(2)).toEqual([{ return: {}, id: 'driver-1' }]);
  });

  test('knows which jobs run, and does not count image creation', () => {
    const jobs = jobsSeen();
    const ends = wire(jobs.mutation);
    ends.answer(status('create-x', 'running'));
    expect(jobs.any()).toBe(false);
    ends.answer(status('copy', 'ready'));
    expect([jobs.any(), jobs.status('copy')]).toEqual([true, 'ready']);
    ends.answer(status('copy', 'concluded'));
    expect([jobs.any(), jobs.status('copy')]).toEqual([false, undefined]);
  });

  test('composes like an onion, the first layer nearest to the driver', () => {
    const mark = (name: string): WireMutation => ({
      toQemu: (message, port) => port.forward({ ...message, path: `${message.path ?? ''}${name}` }),
      fromQemu: (message, port) => port.forward({ ...message, path: `${message.path ?? ''}${name}` }),
    });
    const inner: WireMutation = {
      toQemu: (message, port) =>
        message.execute === 'ask' ? port.back({ return: 1 }) : port.forward(message),
      fromQemu: (message, port) =>
        message.event === 'E' ? port.back({ execute: 'own' }) : port.forward(message),
    };
    const ends = wire(composeMutations(mark('a'), inner, mark('b')));
    ends.command('go');
    ends.command('ask');
    ends.answer({ event: 'X' });
    ends.answer({ event: 'E' });
    expect(ends.atQemu.map(({ execute, path }) => [execute, path])).toEqual([
      ['go', 'ab'],
      ['own', 'b'],
    ]);
    expect(ends.atDriver).toEqual([
      { return: 1, path: 'a' },
      { event: 'X', path: 'ba' },
    ]);
  });
});
