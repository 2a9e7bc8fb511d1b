/** A report with one of everything, and with text from outside that wants to be markup. */
import type { Report } from '../../../conformance/report/report.ts';
import { timelineOf } from '../../../conformance/timeline.ts';

/** What must never become an element, an attribute or a script. */
export const HOSTILE = `</pre></script><img src=x onerror="document.title='owned'">'&]]>\u0000\ud800`;

const trace = (events: readonly string[]) =>
  [
    '5.000 1 < {"QMP": {}}',
    '5.000 1 > {"execute":"qmp_capabilities","id":"libvirt-1"}',
    '5.100 1 < {"return": {}, "id": "libvirt-1"}',
    `6.000 1 > ${JSON.stringify({ execute: 'blockdev-mirror', arguments: { target: HOSTILE }, id: 'libvirt-2' })}`,
    ...events.map((text, index) => `${7 + index}.000 1 < ${text}`),
  ].join('\n');

const event = (len: number, offset: number) =>
  JSON.stringify({ event: 'BLOCK_JOB_READY', data: { type: 'mirror', len, offset } });

/** One failure on `sim`, one known failure, one skip, one escaped canary. */
export const sampleReport: Report = {
  contracts: [
    {
      id: 'api/fails',
      title: `It is kept ${HOSTILE}`,
      source: `libvirt ${HOSTILE}`,
      results: {
        sim: {
          status: 'fail',
          runs: 3,
          seed: 5,
          ms: 20,
          reason: `Violation: it broke ${HOSTILE}`,
          failure: {
            message: `Violation: it broke ${HOSTILE}`,
            counterexample: `{"a":"${HOSTILE}"}`,
            path: '0:1',
            replay: 'npx mockvirt conformance --target sim --contract api/fails --seed 5 --path 0:1',
            timeline: timelineOf([
              { side: 'sim', trace: trace([event(10, 10), '{"error": {"class": "GenericError"}}']) },
              {
                side: 'qemu-7.2',
                trace: trace([event(10, 10), '{"event": "STOP"}', event(4096, 0), event(4096, 4096)]),
              },
            ]),
          },
        },
        'qemu-7.2': { status: 'pass', runs: 5, seed: 5, ms: 1234 },
      },
    },
    {
      id: 'qmp/known',
      title: 'It is known',
      source: 'QAPI',
      results: {
        sim: {
          status: 'fail',
          runs: 1,
          seed: 5,
          ms: 2,
          reason: 'x',
          failure: { message: 'x' },
          deviation: 'a bug (until 2030-01-01)',
        },
        'qemu-7.2': { status: 'skip', runs: 0, seed: 5, ms: 0, reason: `needs ${HOSTILE}` },
      },
    },
  ],
  canaries: [
    { id: 'caught', contract: 'api/fails', caught: true },
    { id: 'escaped', contract: 'qmp/known', caught: false },
  ],
  copies: [
    {
      contract: 'api/fails',
      target: 'sim',
      dirty: [
        [0, 4096],
        [1, 2048],
        [2, 0],
      ],
    },
  ],
  gate: [`api/gone vanished ${HOSTILE}`],
  summary: {
    seed: 5,
    passed: 1,
    failed: 1,
    skipped: 1,
    canariesCaught: 1,
    canariesPlanted: 2,
    ms: 2000,
    targets: { sim: `simulated ${HOSTILE}`, 'qemu-7.2': 'real' },
    ok: false,
  },
};
