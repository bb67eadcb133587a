import { useSignal } from "@preact/signals";
import type { StepInFull } from "../state/detail.ts";
import { seen } from "../model/words.ts";
import { JsonView } from "./json_view.tsx";

const FIRST = 200;

/** What happened within a step: requests, chunks, warnings, entries of sandboxes. */
export function StepEvents({ step }: { step: StepInFull }) {
  const most = useSignal(FIRST);
  const events = step.attempts.flatMap((attempt) => attempt.events.map((event) => ({ event, attempt: attempt.ordinal })));
  if (events.length === 0) return <p class="mute">Nothing was noted within this step.</p>;
  return (
    <>
      {events.slice(0, most.value).map(({ event, attempt }, at) => (
        <details key={at} class="event">
          <summary>
            <span class="mono mute">{String(event["timestamp"] ?? "").slice(11, 23)}</span> {seen(String(event["event_type"] ?? event["type"] ?? ""))}
            {step.attempts.length > 1 && <span class="mute"> attempt {attempt}</span>}
          </summary>
          <JsonView value={event} />
        </details>
      ))}
      {events.length > most.value && <button class="button" onClick={() => (most.value *= 4)}>{events.length - most.value} more</button>}
    </>
  );
}
