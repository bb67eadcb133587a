import type { AlertRow } from "../model/wire_dashboard.ts";
import { date, seen } from "../model/words.ts";
import { href, sessionPath } from "../state/location.ts";

const SHOWN = 3;

/** What fires now, above everything else: whoever opens the page at night looks for nothing else. */
export function AlertStrip({ alerts }: { alerts: readonly AlertRow[] }) {
  if (alerts.length === 0) return null;
  return (
    <section class="alerts" aria-label="Alerts that fire">
      <ul>
        {alerts.slice(0, SHOWN).map((one) => (
          <li key={`${one.rule}\n${one.summary}`} class={one.severity}>
            <b>{seen(one.rule)}</b>
            <span>{one.session_id === null ? seen(one.summary) : <a href={href(sessionPath(one.session_id))}>{seen(one.summary)}</a>}</span>
            {one.severity === "critical" && <span class="badge error">critical</span>}
            <span class="mute">since {date(one.began_ms)}</span>
          </li>
        ))}
      </ul>
      {alerts.length > SHOWN && <span class="mute">and {alerts.length - SHOWN} more: agent-journal alerts list</span>}
    </section>
  );
}
