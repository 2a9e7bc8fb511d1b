/** Events above a driver that does what it is told; values as a live libvirt 9.0 gives them. */
import { describe, expect, test } from 'vitest';
import { EventId, LifecycleEvent } from '../../../../src/index.ts';
import { boot, domainXml, startJob } from '../lab.ts';

describe('events', () => {
  test('a subscriber that comes before the call misses nothing and hears nothing twice', async () => {
    const { connection, seen } = await boot();
    expect(seen).toEqual(['life 4 0', 'life 2 0']);
    const heard: LifecycleEvent[] = [];
    const id = connection.domainEventRegister(EventId.LIFECYCLE, null, ({ event }) => heard.push(event));
    const domain = await connection.createXML(domainXml('', 'b', '00000000-0000-4000-8000-000000000003'));
    expect(heard).toEqual([LifecycleEvent.RESUMED, LifecycleEvent.STARTED]);
    connection.domainEventDeregister(id);
    await domain.destroy();
    expect(heard).toHaveLength(2);
  });

  test('a threshold tells by its names: two if armed as vda, one as vda[N], also of a mirror', async () => {
    const lab = await boot();
    const { domain, machine, seen, index } = lab;
    await startJob(lab, 'copy');
    const active = index('/img/top');
    seen.length = 0;
    const crossed = (imageIndex: number) =>
      machine.emit({ type: 'threshold', imageIndex, thresholdBytes: 100, excessBytes: 5 });
    await domain.setBlockThreshold('vda', 100);
    crossed(active);
    expect(seen.splice(0)).toEqual([
      'threshold vda /img/top 100 5',
      `threshold vda[${active}] /img/top 100 5`,
    ]);
    await domain.setBlockThreshold(`vda[${active}]`, 100);
    crossed(active);
    expect(seen.splice(0)).toEqual([`threshold vda[${active}] /img/top 100 5`]);
    const mirror = /copy' index='(\d+)'/.exec(await domain.getXMLDesc())?.[1];
    await domain.setBlockThreshold(`vda[${mirror}]`, 100);
    crossed(Number(mirror));
    crossed(4711);
    expect(seen).toEqual([`threshold vda[${mirror}] /img/copy 100 5`]);
  });
});
