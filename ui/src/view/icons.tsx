import type { State } from "../model/rows.ts";
import { STATE_WORDS } from "../model/rows.ts";

// One shape a state: told apart without their colours.
const SHAPES: Readonly<Record<State, string>> = {
  ok: "M2.5 6.5l2.5 2.5 4.5-5.5",
  error: "M3 3l6 6M9 3l-6 6",
  running: "M6 3.2a2.8 2.8 0 1 0 .01 0z",
  killed: "M4 2.5v4.5M4 9.3v.4M8 2.5v4.5M8 9.3v.4",
  lost: "M4 4.4a2 2 0 1 1 2.8 1.8c-.6.3-.8.6-.8 1.2M6 9.5v.3",
  awaiting: "M4.3 3v6M7.7 3v6",
  cancelled: "M3 3h6v6h-6z",
};

/** The state of a step, as a picture that says what it is. */
export function StateIcon({ state }: { state: State }) {
  return (
    <svg class={`state state-${state}`} viewBox="0 0 12 12" role="img" aria-label={STATE_WORDS[state]}>
      <path d={SHAPES[state]} />
    </svg>
  );
}
