/** Saved states, and what domains tell of their lives: lifecycle, I/O errors, devices that go. */
import { DeviceModifyFlags, DomainSaveRestoreFlags, ErrorCode } from '../../../src/index.ts';
import { type Contract, example } from '../../contract.ts';
import { expect, expectEqual } from '../../expect.ts';
import { diskXml, Lab, type LabOptions } from '../../lab.ts';
import type { Capability } from '../../target.ts';
import { expectAnswer } from './refusals/row.ts';

interface Life {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  readonly needs: readonly Capability[];
  readonly options?: LabOptions;
  check(lab: Lab): Promise<void>;
}

const life = (lab: Lab, from = 0): string[] =>
  lab.seen.slice(from).filter((line) => line.startsWith('life') || line === 'reboot');

async function expectState(lab: Lab, state: number, reason: number, when: string): Promise<void> {
  expectEqual(await lab.domain.getState(), { state, reason }, `state and reason ${when}`);
}

const SAVES: readonly Life[] = [
  {
    id: 'save-and-restore',
    title: 'A saved domain ends, is in its file, and goes on from there as a running transient domain',
    source:
      'virDomainSave, virDomainRestore; seen on libvirt 9.0: (3,0) (5,4), then (2,2) (4,2), reason restored',
    needs: ['saves'],
    async check(lab) {
      const { connection } = lab.world;
      const at = lab.seen.length;
      await lab.domain.save(lab.path('state'));
      expectEqual(life(lab, at), ['life 3 0', 'life 5 4'], 'events of the save');
      expectEqual(await lab.present(['state']), ['state'], 'file of the state');
      expect(!lab.domain.isActive(), 'the domain still runs after it was saved');
      const after = lab.seen.length;
      const again = await connection.restore(lab.path('state'));
      expectEqual(life(lab, after), ['life 2 2', 'life 4 2'], 'events of the restore');
      expectEqual(await again.getState(), { state: 1, reason: 3 }, 'state of the restored domain');
      expectEqual(again.isPersistent(), false, 'persistence of the restored domain');
      expectEqual(await again.getBlockJobInfo('vda'), null, 'job of the restored domain');
      await again.destroy();
    },
  },
  {
    id: 'save-of-paused',
    title: 'A paused domain is restored paused, unless RUNNING is asked for',
    source:
      'virDomainSaveFlags: VIR_DOMAIN_SAVE_RUNNING; seen on libvirt 9.0: (2,2) (3,4), state 3, reason 2',
    needs: ['saves'],
    async check(lab) {
      const { connection } = lab.world;
      await lab.domain.suspend();
      await lab.domain.save(lab.path('state'));
      const at = lab.seen.length;
      const paused = await connection.restore(lab.path('state'));
      expectEqual(life(lab, at), ['life 2 2', 'life 3 4'], 'events of the restore');
      expectEqual(await paused.getState(), { state: 3, reason: 2 }, 'state of the restored domain');
      await paused.destroy();
      const running = await connection.restore(lab.path('state'), DomainSaveRestoreFlags.RUNNING);
      expectEqual(await running.getState(), { state: 1, reason: 3 }, 'state when RUNNING is asked for');
      await running.destroy();
    },
  },
  {
    id: 'managed-save',
    title: 'A managed save guards the definition and is used up by the next start',
    source: 'virDomainManagedSave; virDomainUndefine; seen on libvirt 9.0',
    needs: ['saves'],
    options: { persistent: true },
    async check(lab) {
      const { domain } = lab;
      await domain.managedSave();
      await expectState(lab, 5, 5, 'after the managed save');
      expectEqual(await domain.hasManagedSaveImage(), true, 'managed save');
      await expectAnswer(
        lab,
        domain.undefine(),
        {
          code: ErrorCode.OPERATION_INVALID,
          says: 'Refusing to undefine while domain managed save image exists',
        },
        'undefine',
      );
      const at = lab.seen.length;
      await domain.create();
      expectEqual(life(lab, at), ['life 2 2', 'life 4 2'], 'events of the start');
      await expectState(lab, 1, 3, 'after the start');
      expectEqual(await domain.hasManagedSaveImage(), false, 'managed save after the start');
    },
  },
  {
    id: 'restore-of-missing-file',
    title: "A restore from a file that is not there is refused with the system's error",
    source: 'virDomainRestore; seen on libvirt 9.0',
    needs: ['saves'],
    check: (lab) =>
      expectAnswer(
        lab,
        lab.world.connection.restore('/nonexistent/state'),
        {
          code: ErrorCode.SYSTEM_ERROR,
          says: "Failed to open file '/nonexistent/state': No such file or directory",
        },
        'restore',
      ),
  },
];

const EVENTS: readonly Life[] = [
  {
    id: 'io-error-pauses',
    title: 'A write for which there is no room tells IO_ERROR, IO_ERROR_REASON enospc, and pauses the guest',
    source:
      'virConnectDomainEventIOErrorReasonCallback; seen on libvirt 9.0: id 4 before id 6, then (3,2), state 3/5',
    needs: ['faults', 'extras'],
    async check(lab) {
      await lab.addFaults({ at: 'guest.write', do: 'error', errno: 'ENOSPC', times: 1 });
      const at = lab.seen.length;
      await lab.control({ control: 'guest-io', disk: 'virtio-disk0', op: 'write', offset: 0, bytes: 512 });
      await lab.until('the pause', (line) => line === 'life 3 2');
      expectEqual(
        lab.seen.slice(at),
        [`io ${lab.path('top')} virtio-disk0 1`, 'reason enospc', 'life 3 2'],
        'events of the error',
      );
      await expectState(lab, 3, 5, 'after the error');
      await lab.domain.resume();
      await expectState(lab, 1, 5, 'after the resume');
    },
  },
  {
    id: 'io-error-reported',
    title: 'A write that fails otherwise is reported to the guest, which runs on',
    source: 'virConnectDomainEventIOErrorCallback: VIR_DOMAIN_EVENT_IO_ERROR_REPORT',
    needs: ['faults', 'extras'],
    async check(lab) {
      await lab.addFaults({ at: 'guest.write', do: 'error', errno: 'EIO', times: 1 });
      const at = lab.seen.length;
      await lab.control({ control: 'guest-io', disk: 'virtio-disk0', op: 'write', offset: 0, bytes: 512 });
      await lab.until('the error', (line) => line.startsWith('reason'));
      expectEqual(
        lab.seen.slice(at),
        [`io ${lab.path('top')} virtio-disk0 2`, 'reason '],
        'events of the error',
      );
      await expectState(lab, 1, 1, 'after the error');
    },
  },
  {
    id: 'guest-shuts-down',
    title: 'A guest that powers off tells SHUTDOWN and STOPPED, by itself',
    source:
      'virConnectDomainEventCallback: VIR_DOMAIN_EVENT_SHUTDOWN_GUEST, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN',
    needs: ['faults'],
    options: { persistent: true },
    async check(lab) {
      const at = lab.seen.length;
      await lab.control({ control: 'guest', do: 'shutdown' });
      await lab.until('the end', (line) => line === 'life 5 0');
      expectEqual(life(lab, at), ['life 6 1', 'life 5 0'], 'events');
      await expectState(lab, 5, 1, 'after the end');
    },
  },
  {
    id: 'hypervisor-dies',
    title: 'A hypervisor that is killed leaves STOPPED with the detail failed, and the reason crashed',
    source: 'qemuProcessHandleMonitorEOF: VIR_DOMAIN_EVENT_STOPPED_FAILED',
    needs: ['faults'],
    options: { persistent: true },
    async check(lab) {
      const at = lab.seen.length;
      await lab.addFaults({ at: 'monitor.command', command: 'query-status', do: 'crash' });
      await lab.monitor('query-status').catch(() => '');
      await lab.until('the end', (line) => line === 'life 5 5');
      expectEqual(life(lab, at), ['life 5 5'], 'events');
      await expectState(lab, 5, 3, 'after the end');
    },
  },
  {
    id: 'disk-goes-at-reset',
    title: 'A disk that the guest holds on to is gone, with DEVICE_REMOVED, when the machine is reset',
    source: 'virDomainDetachDeviceFlags; VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED; seen on libvirt 9.0',
    needs: ['extras', 'virtualTime'],
    async check(lab) {
      await lab.domain.detachDeviceFlags(diskXml('vdb', lab.path('other')), DeviceModifyFlags.LIVE);
      expectEqual(await lab.chain('vdb'), ['other'], 'chain of the disk while the guest holds on to it');
      await lab.domain.reset();
      await lab.until('DEVICE_REMOVED', (line) => line === 'removed virtio-disk1');
      expect(!(await lab.domain.getXMLDesc()).includes("dev='vdb'"), 'the disk is still in the XML');
    },
  },
];

/** One contract per claim. */
export const savingContracts: readonly Contract[] = [...SAVES, ...EVENTS].map(
  ({ id, title, source, needs, options, check }) =>
    example({
      id: `api/${id}`,
      title,
      source,
      needs,
      async check(world) {
        await check(await Lab.start(world, options));
      },
    }),
);
