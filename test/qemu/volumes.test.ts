import { expect, test } from 'vitest';
import { CAPACITY_BYTES, createWorld } from './driver-world.ts';

const SIDES = 4;
const ROUNDS = 40;

// Without turns a real QEMU 7.2 dies within 5 to 26 rounds of this.
test('images can be made and read side by side', async () => {
  const { driver, path } = createWorld();
  const { volumes } = driver;
  const side = async (number: number): Promise<void> => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const image = { path: path(`${number}.qcow2`), format: 'qcow2', capacityBytes: CAPACITY_BYTES };
      await volumes.create(image);
      expect(await volumes.inspect(image.path, 'qcow2')).toMatchObject({ capacityBytes: CAPACITY_BYTES });
      await volumes.remove(image.path);
    }
  };
  await Promise.all(Array.from({ length: SIDES }, (_, number) => side(number)));
});
