/** The suite through its vitest binding, as other people use it. */
import { contracts, defineConformance, type Target } from '../../../conformance/index.ts';
import { vitestBindings } from '../../../conformance/vitest.ts';
import { fakeTarget } from './fake-target.ts';

defineConformance(fakeTarget, vitestBindings, { runs: 3, contracts: contracts.slice(0, 3) });

const withoutPull: Target = {
  ...fakeTarget,
  title: 'a driver that cannot pull',
  async available() {
    const availability = await fakeTarget.available();
    if (!availability.ok) return availability;
    return { ...availability, capabilities: { ...availability.capabilities, pull: false } };
  },
};

defineConformance(withoutPull, vitestBindings, {
  contracts: contracts.filter(({ needs }) => needs.includes('pull')),
});
