#!/usr/bin/env node
/**
 * Captures what a QEMU binary says about its QMP commands into one data file, from which a profile is made:
 *
 *   node scripts/capture-introspection.mjs BINARY OUTPUT.json
 *
 * query-qmp-schema hides integer widths, the names of alternate types, and which commands take their arguments
 * unchecked, though error texts show all three. They are found by asking: every probe carries one unknown member, so
 * that it is refused after its arguments were checked and no command is ever executed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const POISON = 'x-mockvirt-capture';

/** Starts the binary with a monitor and no machine; resolves to `{ greeting, ask, close }`. */
async function startQemu(binary) {
  const directory = mkdtempSync(join(tmpdir(), 'capture-'));
  const path = join(directory, 'qmp');
  const argv = [
    '-machine',
    'none',
    '-nodefaults',
    '-display',
    'none',
    '-qmp',
    `unix:${path},server=on,wait=off`,
  ];
  const child = spawn(binary, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise((resolve) => {
    child.on('error', (error) => resolve(`cannot run ${binary}: ${error.message}`));
    child.on('exit', (code, signal) => resolve(`${binary} ended early (${code ?? signal})`));
  });
  const socket = await Promise.race([connectWhenThere(path), exited]);
  if (typeof socket === 'string') {
    rmSync(directory, { recursive: true });
    throw new Error(socket);
  }
  const nextLine = lineReader(socket);
  const greeting = JSON.parse(await nextLine()).QMP;
  return {
    greeting,
    /** One command, in the text that is to be sent; events are passed over. */
    async ask(text) {
      socket.write(text);
      for (;;) {
        const reply = JSON.parse(await nextLine());
        if (!('event' in reply)) return reply;
      }
    },
    async close() {
      socket.destroy();
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true });
    },
  };
}

/** Connects as soon as the socket accepts. */
async function connectWhenThere(path) {
  for (;;) {
    const socket = connect(path);
    const ready = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (ready) return socket;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Makes a function that resolves to the next line of a stream. */
function lineReader(socket) {
  const lines = [];
  let rest = '';
  let wake = () => {};
  socket.on('data', (bytes) => {
    const parts = (rest + bytes).split('\n');
    rest = parts.pop();
    lines.push(...parts);
    wake();
  });
  return async () => {
    while (lines.length === 0) {
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
    return lines.shift();
  };
}

/** Smallest valid values of schema types. */
class Smallest {
  constructor(schema) {
    this.types = new Map(schema.map((entity) => [entity.name, entity]));
    this.busy = new Set();
  }

  /** A valid value, or undefined if the type cannot be finished without itself. */
  value(name) {
    const type = this.types.get(name);
    switch (type['meta-type']) {
      case 'builtin':
        return { string: 'x', int: 1, number: 1, boolean: false, null: null, value: 'x' }[type['json-type']];
      case 'enum':
        return type.members[0].name;
      case 'array':
        return [];
      case 'alternate':
        return firstDefined(type.members, (member) => this.value(member.type));
      default:
        return this.object(type);
    }
  }

  object(type) {
    if (this.busy.has(type.name)) return undefined;
    this.busy.add(type.name);
    const base = this.members(type);
    const whole =
      base && type.tag ? firstDefined(type.variants, (variant) => this.branch(type, variant)) : base;
    this.busy.delete(type.name);
    return whole;
  }

  /** The members of `type` with those of one of its branches. */
  branch(type, variant) {
    const members = this.members(this.types.get(variant.type));
    return members && { ...this.members(type), [type.tag]: variant.case, ...members };
  }

  members(type) {
    const result = {};
    for (const member of type.members) {
      if ('default' in member) continue;
      const value = this.value(member.type);
      if (value === undefined) return undefined;
      result[member.name] = value;
    }
    return result;
  }
}

function firstDefined(items, make) {
  for (const item of items) {
    const value = make(item);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Asks for everything that the schema hides; see the head of this file. */
class Prober {
  constructor(schema, ask) {
    this.smallest = new Smallest(schema);
    this.types = this.smallest.types;
    this.ask = ask;
    this.seen = new Set();
    this.queue = [];
    this.integers = {};
    this.alternates = {};
    this.unchecked = [];
  }

  async run(commands) {
    for (const command of commands) {
      const type = this.types.get(command['arg-type']);
      const send = (args) => this.refusal(command.name, args);
      if (!(await send(this.smallest.value(type.name))).includes(`'${POISON}' is unexpected`)) {
        this.unchecked.push(command.name);
      } else {
        this.visitLater(type, send);
      }
    }
    for (let next = this.queue.shift(); next; next = this.queue.shift()) await next();
  }

  async refusal(command, args) {
    const text = JSON.stringify({ execute: command, arguments: { ...args, [POISON]: 1 } });
    const reply = await this.ask(text.replace(/"@int:(\d+)"/g, '$1'));
    return reply.error?.desc ?? '';
  }

  /** Looks at an object type once; `send` sends arguments that hold the given object. */
  visitLater(type, send) {
    if (this.seen.has(type.name)) return;
    this.seen.add(type.name);
    this.queue.push(() => this.visit(type, send));
  }

  async visit(type, send) {
    const whole = this.smallest.value(type.name);
    if (whole !== undefined) await this.visitMembers(type, (members) => send({ ...whole, ...members }));
    for (const variant of type.variants ?? []) {
      const filled = this.smallest.branch(type, variant);
      if (filled) this.visitLater(this.types.get(variant.type), (members) => send({ ...filled, ...members }));
    }
  }

  async visitMembers(type, send) {
    for (const member of type.members) {
      await this.visitValue(`${type.name}.${member.name}`, member.type, (value) =>
        send({ [member.name]: value }),
      );
    }
  }

  async visitValue(key, name, send) {
    const type = this.types.get(name);
    if (name === 'int') await this.probeInteger(key, send);
    if (type['meta-type'] === 'array')
      await this.visitValue(key, type['element-type'], (value) => send([value]));
    if (type['meta-type'] === 'object') this.visitLater(type, send);
    if (type['meta-type'] === 'alternate' && !(name in this.alternates)) {
      await this.probeAlternate(type, send);
      for (const member of type.members) await this.visitValue(name, member.type, send);
    }
  }

  async probeInteger(key, send) {
    const narrow = /expects (u?int\d+)_t/.exec(await send(`@int:${2n ** 40n}`));
    if (narrow) this.integers[key] = narrow[1];
    else if ((await send(`@int:${2n ** 63n}`)).includes(POISON)) this.integers[key] = 'uint64';
  }

  async probeAlternate(type, send) {
    const refused = [true, [], null, 1, 'x', {}];
    for (const value of refused) {
      const expected = /expected: (\w+)$/.exec(await send(value));
      if (
        expected &&
        !['string', 'boolean', 'integer', 'array', 'object', 'number', 'null'].includes(expected[1])
      ) {
        this.alternates[type.name] = expected[1];
        return;
      }
    }
  }
}

/** What is kept of a schema entity. */
function reduced(entity) {
  const { values: _, ...kept } = entity;
  return kept;
}

/**
 * One line for each fact. The schema is a string: most runs never check an argument, and a JSON text inside a string costs
 * next to nothing until it is parsed.
 */
function render({ schema, ...facts }) {
  const data = { ...facts, schema: JSON.stringify(schema) };
  const lines = Object.entries(data).map(
    ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
  );
  return `{\n${lines.join(',\n')}\n}\n`;
}

async function capture(binary, output) {
  const qemu = await startQemu(binary);
  try {
    await qemu.ask('{"execute":"qmp_capabilities"}');
    const schema = (await qemu.ask('{"execute":"query-qmp-schema"}')).return.map(reduced);
    const commands = (await qemu.ask('{"execute":"query-commands"}')).return.map((command) => command.name);
    const prober = new Prober(schema, qemu.ask);
    await prober.run(schema.filter((entity) => entity['meta-type'] === 'command'));
    const { version, capabilities } = qemu.greeting;
    const { unchecked, alternates, integers } = prober;
    const greeting = { version: version.qemu, package: version.package, capabilities };
    writeFileSync(output, render({ greeting, commands, unchecked, alternates, integers, schema }));
    console.log(`${output}: ${commands.length} commands, ${schema.length} schema entities`);
  } finally {
    await qemu.close();
  }
}

const [binary, output, ...extra] = process.argv.slice(2);
if (!binary || !output || extra.length > 0) {
  console.error('usage: node scripts/capture-introspection.mjs BINARY OUTPUT.json');
  process.exit(2);
}
await capture(binary, output);
