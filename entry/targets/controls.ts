/** Keeps in reach what only a simulation can be asked for: the controls of the machines that a host has launched. */
import type { Control, FaultPlan } from '../../conformance/index.ts';
import { overlay } from '../../conformance/index.ts';
import type { WireMessage, WireValue } from '../../conformance/wire.ts';
import type { Emulator, Host } from '../../drivers/qemu/host.ts';

/** The control of an emulator; undefined for one that has none. */
export function controlOf(emulator: Emulator): Control | undefined {
  const { control } = emulator as Emulator & { readonly control?: Control };
  return control && ((request) => control.call(emulator, request));
}

/** The machines of domains, by what they were started with. */
export class Controls {
  readonly #running = new Set<{ readonly argv: readonly string[]; readonly control: Control }>();

  /** The same host, whose machines are kept in mind; those of domains get the faults as soon as they are there. */
  remember(host: Host, faults?: FaultPlan): Host {
    return overlay(host, {
      launch: async (emulator, argv, launched) => {
        const started = await host.launch(emulator, argv, launched);
        const control = controlOf(started);
        if (!control || !argv.includes('-name')) return started;
        const machine = { argv, control };
        this.#running.add(machine);
        void started.exited.then(() => this.#running.delete(machine));
        if (faults) await control({ control: 'add-faults', faults });
        return started;
      },
    });
  }

  /** Asks the machine of a domain that runs; `directory`, where its images are, tells apart domains of one name. */
  ask(domainName: string, directory: string, request: WireMessage): Promise<WireValue> {
    const found = [...this.#running].findLast(
      ({ argv }) => nameIn(argv) === domainName && argv.some((word) => word.includes(`${directory}/`)),
    );
    if (found) return found.control(request);
    return Promise.reject(new Error(`no machine of a domain '${domainName}' runs here`));
  }
}

/** The domain's name in the arguments of its machine. */
export function nameIn(argv: readonly string[]): string | undefined {
  const value = argv[argv.indexOf('-name') + 1];
  return value?.replace(/^guest=/, '').replace(/,debug-threads=on$/, '');
}
