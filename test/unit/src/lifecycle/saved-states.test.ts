/** Saved states above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import { DomainCreateFlags, ErrorCode, VirtError } from '../../../../src/index.ts';
import { boot, machineOf, refusal } from '../lab.ts';

const STATE = 'Requested operation is not valid: ';

describe('saved states', () => {
  test('save ends the run, restore goes on with it', async () => {
    const { domain, connection, driver, machine, seen } = await boot();
    seen.length = 0;
    await domain.save('/x');
    expect(seen.splice(0)).toEqual(['life 3 0', 'life 5 4']);
    expect(machine.calls.map(({ name }) => name)).toEqual(['pause', 'save', 'destroy']);
    const again = await connection.restore('/x');
    expect(seen.splice(0)).toEqual(['life 2 2', 'life 4 2']);
    expect(machineOf(driver).spec.restoreFrom).toBe('/x');
    expect(await again.getState()).toEqual({ state: 1, reason: 3 });
    expect(again.isPersistent()).toBe(false);
    await again.suspend();
    await again.save('/y');
    await connection.restore('/y');
    expect(seen.splice(0)).toEqual(['life 3 0', 'life 5 4', 'life 2 2', 'life 3 4']);
    expect(await refusal(connection.restore('/nope'))).toEqual([
      38,
      10,
      "Failed to open file '/nope': No such file or directory",
    ]);
    expect(await refusal(connection.restore('/x', 6))).toEqual([
      8,
      20,
      "Flags 'VIR_DOMAIN_SAVE_RUNNING' and 'VIR_DOMAIN_SAVE_PAUSED' are mutually exclusive",
    ]);
  });

  test('a save that fails lets the guest go on', async () => {
    const { domain, machine, seen } = await boot();
    seen.length = 0;
    machine.on.save = () => {
      throw new VirtError(ErrorCode.SYSTEM_ERROR, "Failed to create file '/x': No such file or directory");
    };
    expect((await refusal(domain.save('/x')))?.[0]).toBe(38);
    expect(seen).toEqual(['life 3 0', 'life 4 0']);
    expect((await domain.getState()).state).toBe(1);
  });

  test('a managed save is used up by the next start, thrown away by a forced one, and guards the definition', async () => {
    const { domain, driver, seen } = await boot({ persistent: true });
    await domain.managedSave();
    expect(await domain.getState()).toEqual({ state: 5, reason: 5 });
    expect(await refusal(domain.undefine())).toEqual([
      55,
      10,
      `${STATE}Refusing to undefine while domain managed save image exists`,
    ]);
    await domain.create();
    expect(await domain.getState()).toEqual({ state: 1, reason: 3 });
    expect(await domain.hasManagedSaveImage()).toBe(false);
    await domain.managedSave();
    seen.length = 0;
    await domain.create(DomainCreateFlags.START_FORCE_BOOT);
    expect(seen).toEqual(['life 4 0', 'life 2 0']);
    await domain.managedSave();
    await domain.managedSaveRemove();
    expect(await refusal(domain.managedSaveRemove())).toEqual([
      38,
      10,
      "Failed to remove managed save file '/save/vm.save': No such file or directory",
    ]);
    expect(driver.saved.size).toBe(0);
  });
});
