import { useSignal, useSignalEffect } from "@preact/signals";
import type { Looking } from "../state/looking.ts";
import { getJson, Refusal } from "../state/source.ts";
import { JsonView } from "./json_view.tsx";

/** The agents' contexts and state, as they were at a step; of the whole session as they are now. */
export function StateAt({ looking, number }: { looking: Looking; number: number | null }) {
  const answer = useSignal<unknown>(undefined);
  const refusal = useSignal<string>("");
  useSignalEffect(() => {
    const path = `${looking.session.path}/state${number === null ? "" : `?at=${number}`}`;
    const gone = new AbortController();
    getJson(path, gone.signal)
      .then((got) => (answer.value = got))
      .catch((error) => !gone.signal.aborted && (refusal.value = error instanceof Refusal ? error.message : String(error)));
    return () => gone.abort();
  });
  if (refusal.value) return <p role="alert" class="mid">{refusal.value}</p>;
  if (answer.value === undefined) return <p class="mute">Reading the state…</p>;
  const agents = (answer.value as { agents?: readonly unknown[] }).agents;
  if (agents?.length === 0) return <p class="mute">No agent kept a state that the journal has.</p>;
  return <JsonView value={agents ?? answer.value} />;
}

export function StateTab({ looking }: { looking: Looking }) {
  const row = looking.node.value?.row;
  return (
    <div class="body" role="tabpanel" aria-label="State" tabIndex={0} key={row?.number}>
      <p class="mid">{row ? `As it was at step ${row.number}` : "As it is now"}</p>
      <StateAt looking={looking} number={row?.number ?? null} />
    </div>
  );
}
