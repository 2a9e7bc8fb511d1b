/** The client's end of `mock-qemu --control`: one request, one answer, on a connection of its own. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Control } from '../../conformance/index.ts';
import type { WireMessage, WireValue } from '../../conformance/wire.ts';

/** Asks the process behind a control socket. Rejects with its words, or if it ends before it has answered. */
export function controlAt(path: string): Control {
  return async (request) => {
    const socket = connect(path);
    socket.setEncoding('utf8');
    try {
      await once(socket, 'connect');
      socket.write(`${JSON.stringify(request)}\n`);
      return answerIn(await firstLine(socket));
    } finally {
      socket.destroy();
    }
  };
}

async function firstLine(chunks: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const chunk of chunks) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  return text;
}

/** A request may end the process that it is for: then there is no answer, and what was asked has happened. */
function answerIn(line: string): WireValue {
  if (line === '') return {};
  const answer: WireMessage = JSON.parse(line);
  if (answer.error !== undefined) throw new Error(String(answer.error));
  return answer.return ?? {};
}
