import type { SessionRow } from "../model/wire.ts";
import { clock, count, date, duration, seen } from "../model/words.ts";
import { go, href, sessionPath } from "../state/location.ts";
import { shortMoney } from "./panels.tsx";
import { markOf, SessionState } from "./session_state.tsx";

interface Props {
  readonly row: SessionRow;
  readonly index: number;
  readonly now: number;
  readonly current: boolean;
  readonly selected: boolean;
  readonly picked: boolean;
  readonly onFocus: () => void;
}

const DAY = 86_400_000;

/** One session in the list. */
export function SessionLine({ row, index, now, current, selected, picked, onFocus }: Props) {
  const tokens = row.input_tokens === null && row.output_tokens === null ? null : (row.input_tokens ?? 0) + (row.output_tokens ?? 0);
  const ended = row.ended_ms ?? (row.live ? now || null : row.updated_ms);
  const took = row.began_ms === null || ended === null ? null : Math.max(0, ended - row.began_ms);
  return (
    <div
      class={`line${picked ? " picked" : ""}`}
      role="row"
      data-at={index}
      data-session-id={row.session_id}
      aria-rowindex={index + 2}
      aria-selected={selected}
      tabIndex={current ? 0 : -1}
      onFocus={onFocus}
      onClick={(event) => !(event.target as Element).closest("a") && !getSelection()?.toString() && go(sessionPath(row.session_id))}
    >
      <span role="gridcell" class="c-session"><a tabIndex={-1} href={href(sessionPath(row.session_id))} title={row.session_id}>{seen(row.session_id)}</a></span>
      <span role="gridcell" class="c-state"><SessionState row={row} now={now} /></span>
      <span role="gridcell" class="c-agent" title={row.agent ?? ""}>{row.agent === null ? <span class="mute">—</span> : seen(row.agent)}</span>
      <span role="gridcell" class="c-steps">{count(row.steps)}</span>
      <span role="gridcell" class={`c-errors${row.errors ? " bad" : ""}`}>{count(row.errors)}</span>
      <span role="gridcell" class="c-tokens">{tokens ? count(tokens) : "—"}</span>
      <span role="gridcell" class="c-cost">{shortMoney(row.cost_usd, row.unpriced_calls)}</span>
      <span role="gridcell" class="c-took">{duration(took)}</span>
      <span role="gridcell" class="c-began" title={date(row.began_ms)}>{began(row.began_ms)}</span>
      <span role="gridcell" class="c-last">
        {row.tags.map((tag) => <span key={tag} class="badge">{seen(tag)}</span>)}
        {markOf(row) === "failed" ? "" : seen(row.last ?? "")}
      </span>
    </div>
  );
}

/** 09:04 of today; of other days the date. */
function began(ms: number | null): string {
  if (ms === null) return "—";
  const midnight = new Date().setHours(0, 0, 0, 0);
  return ms >= midnight && ms < midnight + DAY ? clock(ms).slice(0, 5) : date(ms).slice(5, 10);
}
