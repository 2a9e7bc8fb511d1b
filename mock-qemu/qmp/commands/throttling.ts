/** block_set_io_throttle, and throttle groups as objects. */
import type { Json, JsonObject } from '../../../src/qmp/messages.ts';
import { refuse } from '../../core/errors.ts';
import type { BlockBackend } from '../../core/graph/backend.ts';
import {
  checkLimits,
  isLimited,
  LIMITS,
  type LimitName,
  SHORT_NAMES,
  type ThrottleGroup,
  type ThrottleLimits,
  UNLIMITED,
} from '../../core/throttle.ts';
import type { Vm } from '../../core/vm.ts';
import { driveOf } from './media.ts';
import { type CommandContext, type CommandTable, type Handler, integer, isObject, text } from './table.ts';

/** The command's names for a burst: `bps_max`, `bps_rd_max`, ... */
const burstOf = (name: LimitName): string => `${SHORT_NAMES[name]}_max`;

function fromCommand(args: JsonObject): ThrottleLimits {
  const of = LIMITS.map((name) => [
    name,
    {
      rate: integer(args, SHORT_NAMES[name]) ?? 0,
      burst: integer(args, burstOf(name)) ?? 0,
      burstSeconds: integer(args, `${burstOf(name)}_length`) ?? 1,
    },
  ]);
  return { of: Object.fromEntries(of), requestBytes: integer(args, 'iops_size') ?? 0 };
}

/** QAPI ThrottleLimits over limits that there are. */
export function limitsFrom(object: JsonObject, before = UNLIMITED, prefix = ''): ThrottleLimits {
  const of = LIMITS.map((name) => {
    const limit = before.of[name];
    return [
      name,
      {
        rate: integer(object, `${prefix}${name}`) ?? limit.rate,
        burst: integer(object, `${prefix}${name}-max`) ?? limit.burst,
        burstSeconds: integer(object, `${prefix}${name}-max-length`) ?? limit.burstSeconds,
      },
    ];
  });
  const requestBytes = integer(object, `${prefix}iops-size`) ?? before.requestBytes;
  return { of: Object.fromEntries(of), requestBytes };
}

/** Limits as QAPI's ThrottleLimits. */
export function limitsInfo({ of, requestBytes }: ThrottleLimits): JsonObject {
  const members = LIMITS.flatMap((name): [string, Json][] => [
    [name, of[name].rate],
    [`${name}-max`, of[name].burst],
    [`${name}-max-length`, of[name].burstSeconds],
  ]);
  return { ...Object.fromEntries(members), 'iops-size': requestBytes };
}

const NO_LIMITS: JsonObject = Object.fromEntries(LIMITS.map((name) => [SHORT_NAMES[name], 0]));

/** The limits of a disk as members of its BlockDeviceInfo. */
export function throttleInfo(group: ThrottleGroup | undefined): JsonObject {
  if (!group) return NO_LIMITS;
  const { of, requestBytes } = group.limits;
  const bursts = LIMITS.filter((name) => of[name].burst > 0).flatMap((name): [string, Json][] => [
    [burstOf(name), of[name].burst],
    [`${burstOf(name)}_length`, of[name].burstSeconds],
  ]);
  return {
    ...Object.fromEntries(LIMITS.map((name) => [SHORT_NAMES[name], of[name].rate])),
    ...Object.fromEntries(bursts),
    ...(requestBytes > 0 && { iops_size: requestBytes }),
    group: group.name,
  };
}

/** The line of `info block`. */
export function throttleLine({ limits, name: group }: ThrottleGroup): string {
  const part = (kind: 'bps' | 'iops'): string => {
    const names = LIMITS.filter((name) => name.startsWith(kind));
    const rates = names.map((name) => `${SHORT_NAMES[name]}=${limits.of[name].rate}`);
    const bursts = names.map((name) => `${burstOf(name)}=${limits.of[name].burst}`);
    return [...rates, ...bursts].map((each) => `${each} `).join('');
  };
  return `    I/O throttling:   ${part('bps')}${part('iops')}iops_size=${limits.requestBytes} group=${group}`;
}

function throttle(vm: Vm, backend: BlockBackend, groupName: string, limits: ThrottleLimits): void {
  const { throttle: group } = backend;
  if (!isLimited(limits)) {
    vm.throttles.leave(group);
    backend.throttle = undefined;
    return;
  }
  if (group?.name !== groupName) {
    backend.throttle = vm.throttles.join(groupName);
    vm.throttles.leave(group);
  }
  backend.throttle?.setLimits(limits);
}

const setIoThrottle: Handler = ({ vm, profile }, args) => {
  const { backend, called } = driveOf(vm, args);
  const limits = fromCommand(args);
  if (profile.behaviour.nodeNames) {
    if (!backend.node) refuse('Device has no medium');
    checkLimits(limits);
  } else checkEarly(limits);
  throttle(vm, backend, text(args, 'group') ?? backend.throttle?.name ?? called, limits);
  return undefined;
};

/** Before limits had words of their own for what is wrong with them. */
function checkEarly({ of }: ThrottleLimits): void {
  for (const kind of ['bps', 'iops'] as const) {
    if (of[`${kind}-total`].rate !== 0 && (of[`${kind}-read`].rate !== 0 || of[`${kind}-write`].rate !== 0)) {
      refuse('Invalid parameter combination');
    }
  }
}

/** Makes the throttle group that options describe. */
export function addThrottleGroup(vm: Vm, id: string, options: JsonObject): void {
  const limits = isObject(options.limits) ? limitsFrom(options.limits) : limitsFrom(options, UNLIMITED, 'x-');
  vm.throttles.addObject(id, limits);
}

/** Commands about limits. */
export const throttleCommands: CommandTable = { block_set_io_throttle: setIoThrottle };

/** block_set_io_throttle of the human monitor: a device and six numbers. */
export const throttleHmp: Readonly<
  Record<string, (context: CommandContext, words: readonly string[]) => string>
> = {
  block_set_io_throttle(context, [device = '', ...numbers]) {
    const names = LIMITS.map((name) => SHORT_NAMES[name]);
    const values = names.map((name, index) => [name, Number(numbers[index] ?? 0)]);
    setIoThrottle(context, { device, ...Object.fromEntries(values) }, () => undefined);
    return '';
  },
};
