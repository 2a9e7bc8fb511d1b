/** Commands past the driver (libvirt: virDomainQemuMonitorCommand). */
import { ErrorCode, VirtError } from '../../src/errors.ts';
import type { QmpClient } from './qmp-client.ts';
import { isQmpObject, parseQmp, type QmpObject, type QmpValue, stringifyQmp } from './qmp-json.ts';

/** Sends a command as it is and resolves to the reply as it came. `hmp`: in the language of the human monitor. */
export async function monitorCommand(client: QmpClient, command: string, hmp: boolean): Promise<string> {
  if (hmp) return String(await client.execute('human-monitor-command', { 'command-line': command }));
  return stringifyQmp(await client.request(parseCommand(command)));
}

function parseCommand(text: string): QmpObject {
  let command: QmpValue;
  try {
    command = parseQmp(text);
  } catch (cause) {
    throw new VirtError(ErrorCode.INTERNAL_ERROR, `cannot parse json ${text}: give one QMP command as JSON`, {
      cause,
    });
  }
  if (isQmpObject(command)) return command;
  throw new VirtError(ErrorCode.INTERNAL_ERROR, `a QMP command is a JSON object, not ${text}`);
}
