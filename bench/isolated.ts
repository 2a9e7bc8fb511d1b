/** One case in a process of its own: its name and the emulator in, its figures out as JSON. */
import { assert } from '../src/util/assert.ts';
import { cases } from './cases/index.ts';

const [name, emulator] = process.argv.slice(2);
const found = cases.find((candidate) => candidate.name === name);
assert(found, `there is a case ${name}`);
const measure = await found.load();
process.stdout.write(JSON.stringify(await measure({ emulator })));
