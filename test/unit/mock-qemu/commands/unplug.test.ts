/** What becomes of a disk's jobs when its device is unplugged, as QEMU 7.2 was seen to do it. */
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../../src/qmp/messages.ts';
import { Bench, chainArgv } from './bench.ts';

const mirror = { 'job-id': 'm', target: 't', sync: 'full' };

/** A SCSI disk with a mirror onto `t`, on a drive or on a node. */
function withMirror(kind: 'drive' | 'node', options: JsonObject = {}): Bench {
  const drive = ['-drive', 'if=none,id=dr,format=qcow2,file=/img/top', '-device', 'scsi-hd,drive=dr,id=vd'];
  const onNode = [...chainArgv().slice(0, -2), '-device', 'scsi-hd,drive=libvirt-1-format,id=vd'];
  const bench = new Bench(kind === 'drive' ? ['-S', ...drive] : onNode);
  bench.addTarget();
  bench.run('blockdev-mirror', {
    ...mirror,
    device: kind === 'drive' ? 'dr' : 'libvirt-1-format',
    ...options,
  });
  return bench;
}

describe('device_del', () => {
  test('completes a READY mirror of a drive without a pivot; the drive goes with the device', () => {
    const bench = withMirror('drive');
    bench.idle();
    bench.heard();
    bench.run('device_del', { id: 'vd' });
    bench.idle();
    expect(bench.heard()).toEqual([
      'm:standby',
      'm:ready',
      '{}',
      'm:waiting',
      'm:pending',
      'BLOCK_JOB_COMPLETED',
      'm:concluded',
      'm:null',
      'DEVICE_DELETED',
    ]);
    expect(bench.run('query-block')).toEqual([]);
  });

  test('cancels a mirror of a drive that is not READY', () => {
    const bench = withMirror('drive', { speed: 1000, 'buf-size': 65536 });
    bench.qemu.advance(200_000_000);
    bench.run('query-status');
    bench.heard();
    bench.run('device_del', { id: 'vd' });
    bench.idle();
    expect(bench.heard()).toEqual([
      'm:paused',
      'm:running',
      '{}',
      'm:aborting',
      'BLOCK_JOB_CANCELLED',
      'm:concluded',
      'm:null',
      'DEVICE_DELETED',
    ]);
  });

  test('leaves a job on a node alone', () => {
    const bench = withMirror('node');
    bench.idle();
    bench.heard();
    bench.run('device_del', { id: 'vd' });
    bench.run('device_del', { id: 'vd' });
    bench.idle();
    const flap = ['m:standby', 'm:ready'];
    expect(bench.heard()).toEqual([...flap, '{}', '{}', ...flap, ...flap, 'DEVICE_DELETED']);
    expect(bench.run('query-block-jobs')).toMatchObject([{ status: 'ready' }]);
  });
});
