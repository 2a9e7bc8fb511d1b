/** QEMUs that take or refuse a verb in the wrong state. */
import type { Canary } from '../../canary.ts';
import { verbCells } from '../../contracts/qmp/verbs.ts';
import { acceptInState, refuseInState } from '../../stream-mutations.ts';

/** One per cell of the verb table. */
export const verbCanaries: readonly Canary[] = verbCells.map(({ id, command, state, next }) => {
  const isLegal = next !== undefined;
  return {
    id: `${command}-${isLegal ? 'refused' : 'accepted'}-in-${state}`,
    contract: id,
    title: `${command} is ${isLegal ? 'refused' : 'accepted, without effect,'} in state ${state}`,
    wire: () => (isLegal ? refuseInState(command, state) : acceptInState(command, state)),
  };
});
