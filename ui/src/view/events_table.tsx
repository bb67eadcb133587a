import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { parseLines } from "../model/lines.ts";
import { plural, seen } from "../model/words.ts";
import type { Looking } from "../state/looking.ts";
import { source } from "../state/source.ts";
import { JsonView } from "./json_view.tsx";
import { ROW } from "./tree_grid.tsx";

type Event = Readonly<Record<string, unknown>>;

/** Every event of the session as it was written, in a windowed table. */
export function EventsTable({ looking }: { looking: Looking }) {
  const events = useSignal<readonly Event[] | null>(null);
  const refusal = useSignal("");
  const chosen = useSignal<number | null>(null);
  const top = useSignal(0);
  const scroller = useRef<HTMLDivElement>(null);
  useSignalEffect(() => {
    const gone = new AbortController();
    source
      .text(`${looking.session.path}/events`, gone.signal)
      .then((text) => (events.value = parseLines(text) as Event[]))
      .catch((error) => !gone.signal.aborted && (refusal.value = String(error.message ?? error)));
    return () => gone.abort();
  });
  if (refusal.value) return <p class="body" role="alert">{refusal.value}</p>;
  if (!events.value) return <p class="waiting">Reading events…</p>;
  const from = Math.max(0, Math.floor(top.value / ROW) - 10);
  const shown = events.value.slice(from, from + 70);
  return (
    <div class="events">
      <div class="grid-scroll" ref={scroller} role="table" aria-label={plural(events.value.length, "event")} aria-rowcount={events.value.length} tabIndex={0} onScroll={() => (top.value = scroller.current!.scrollTop)}>
        <div class="grid-space" style={{ height: `${events.value.length * ROW}px` }} role="rowgroup">
          <div class="grid-window" role="presentation" style={{ top: `${from * ROW}px` }}>
            {shown.map((event, at) => (
              <EventRow key={from + at} event={event} at={from + at} chosen={chosen.value === from + at} onChoose={() => (chosen.value = chosen.value === from + at ? null : from + at)} looking={looking} />
            ))}
          </div>
        </div>
      </div>
      {chosen.value !== null && <div class="body" tabIndex={0}><JsonView value={events.value[chosen.value]} /></div>}
    </div>
  );
}

function EventRow({ event, at, chosen, onChoose, looking }: { event: Event; at: number; chosen: boolean; onChoose: () => void; looking: Looking }) {
  const step = typeof event["step_id"] === "string" ? looking.session.tree.find(event["step_id"]) : null;
  const level = String(event["level"] ?? "");
  return (
    <div role="row" aria-rowindex={at + 1} class={`event-row${at % 2 ? " odd" : ""}${chosen ? " chosen" : ""}`}>
      <span role="cell" class="mono mute">{String(event["timestamp"] ?? "").slice(11, 23)}</span>
      <span role="cell"><button aria-expanded={chosen} onClick={onChoose}>{seen(String(event["event_type"] ?? event["type"] ?? ""))}</button></span>
      <span role="cell" class={level === "ERROR" ? "failed" : level === "WARNING" ? "warned" : "mute"}>{level === "INFO" ? "" : level}</span>
      <span role="cell">{step ? <button class="mid" onClick={() => looking.select(step)}>#{step.row!.number} {seen(step.row!.name)}</button> : seen(String(event["name"] ?? ""))}</span>
    </div>
  );
}
