/** Simulated QEMUs where there is no Node: the core, QMP and images in memory, and the WebSocket way in. */
export { DEFAULT_PROFILE, profiles } from '../mock-qemu/profiles/index.ts';
export { answerQmp, type QmpSource, type WebSocketClient } from '../mock-qemu/shells/websocket.ts';
export {
  type BootedQemu,
  type BootOptions,
  createWorld,
  type World,
  type WorldOptions,
} from '../mock-qemu/shells/world.ts';
