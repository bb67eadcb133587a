import { copy } from "../state/copying.ts";
import { clockMs, date, duration, seen } from "../model/words.ts";
import { laneClass } from "../model/scatter.ts";
import type { EventRow } from "../model/wire_dashboard.ts";
import { href, place, sessionPath } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath } from "../state/overview.ts";
import { full } from "./panels.tsx";
import { Scatter } from "./scatter.tsx";

/** The timeline whole, and its events one by one: what a dot is made of. */
export function TimelineEvents({ overview }: { overview: Overview }) {
  const found = overview.timeline.value;
  if (!found) return <p class="waiting" role="status">Reading events…</p>;
  const types = place.value.query.getAll("type");
  return (
    <div class="timeline" tabIndex={0} role="region" aria-label="Events">
      <Scatter lanes={found.lanes} rows={found.lanes.rows} overview={overview} />
      <p class="said">
        {types.length > 0 && <a class="pill" href={href(listPath({ type: null }))}>{types.join(", ")} ✕</a>}
        <span class="mute">
          {found.events.length === 0 ? "No events in this time" : found.more > 0 ? `The latest ${full(found.events.length)} of ${full(found.events.length + found.more)} events` : `${full(found.events.length)} events`}
          {found.reading ? ", reading…" : ""}
        </span>
        <button class="button" onClick={() => void copy(found.sql, "the SQL")} title={found.sql}>copy SQL</button>
      </p>
      <table class="all">
        <thead><tr><th>Time</th><th>Type</th><th>Name</th><th>Session</th><th class="num">Took</th><th>Says</th></tr></thead>
        <tbody>{found.events.map((one) => <Line key={`${one.session_id} ${one.event_id}`} event={one} />)}</tbody>
      </table>
    </div>
  );
}

function Line({ event }: { event: EventRow }) {
  const step = event.step_id ? `?${new URLSearchParams({ step: event.step_id })}` : "";
  return (
    <tr>
      <td class="mono" title={date(event.at_ms)}>{clockMs(event.at_ms)}</td>
      <td class={laneClass(event.type)}><span class="dot" /> <a href={href(listPath({ type: event.type }))}>{event.type}</a></td>
      <td>{seen(event.name ?? "")}</td>
      <td><a href={href(sessionPath(event.session_id) + step)}>{seen(event.session_id)}</a></td>
      <td class="num">{event.took_ms === null ? "" : duration(event.took_ms)}</td>
      <td class={event.outcome === "error" ? "says bad" : "says"}>{seen(event.text)}</td>
    </tr>
  );
}
