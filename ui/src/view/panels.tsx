import type { Dashboard } from "../model/wire_dashboard.ts";
import { STATES } from "../model/search.ts";
import { clock, count, date, duration, money, seen } from "../model/words.ts";
import { href, place } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath } from "../state/overview.ts";
import { Panel } from "./panel.tsx";
import { windowName } from "./site_header.tsx";
import { TimelinePanel } from "./timeline_panel.tsx";

/** The panels above the list. */
export function Panels({ overview }: { overview: Overview }) {
  const board = overview.board.value;
  if (!board) return <div class="panels" aria-busy="true"><section class="panel mute">Counting…</section></div>;
  return (
    <div class="panels">
      <TotalsPanel board={board} />
      <TimelinePanel overview={overview} board={board} />
      <CausesPanel board={board} />
      <ToolsPanel board={board} />
    </div>
  );
}

function title(board: Dashboard): string {
  if (board.until_ms !== null) return `${clock(board.since_ms)} – ${clock(board.until_ms)}`;
  return windowName(board.window);
}

function TotalsPanel({ board }: { board: Dashboard }) {
  const { totals, tools } = board;
  const tokens = totals.input_tokens + totals.output_tokens;
  const said = [tokens ? `${count(tokens)} tokens` : "", totals.unpriced_calls ? `${count(totals.unpriced_calls)} unpriced` : ""];
  return (
    <Panel name={title(board)} sql={totals.sql}>
      <div class="big">
        <Big value={full(totals.sessions)} name={totals.sessions === 1 ? "session" : "sessions"} to={listPath({ status: null, view: null })} />
        <Big value={count(totals.events)} name="events" to={listPath({ view: "events", type: null })} />
        <Big value={full(tools.count)} name={tools.count === 1 ? "tool used" : "tools used"} to={listPath({}, "/tools")} />
        <Big value={full(totals.failed)} name="failed" to={listPath({ status: STATES["failed"]!, view: null })} bad={totals.failed > 0} />
        <Big value={duration(totals.p50_ms)} name={`p50 · p95 ${duration(totals.p95_ms)}`} />
        <Big value={shortMoney(totals.cost_usd, totals.unpriced_calls)} name={said.filter(Boolean).join(", ") || "cost"} to={listPath({}, "/agents")} />
      </div>
    </Panel>
  );
}

function Big({ value, name, to, bad }: { value: string; name: string; to?: string; bad?: boolean }) {
  const shown = <><b class={bad ? "bad" : ""}>{value}</b> <span>{name}</span></>;
  return to ? <a href={href(to)}>{shown}</a> : <div>{shown}</div>;
}

export function CausesPanel({ board }: { board: Dashboard }) {
  const { causes } = board;
  return (
    <Panel name="Errors by cause" sql={causes.sql} extra={<Since board={board} />}>
      {causes.rows.length === 0 ? <p class="mute">{board.reading ? "Reading…" : "No errors."}</p> : (
        <table class="cells"><colgroup><col /><col class="few" /><col class="few" /></colgroup>
          <thead class="hidden"><tr><th>Cause</th><th>Errors</th><th>Sessions</th></tr></thead>
          <tbody>
            {causes.rows.map((one) => (
              <tr key={`${one.cause}\n${one.name}`}>
                <td><a href={href(ofCause(one.cause))}>{seen(one.cause)}</a> <span class="mute">{seen(one.name)}</span></td>
                <td class="num bad"><a href={href(ofCause(one.cause))}>{full(one.errors)}</a></td>
                <td class="num" title={plural(one.sessions, "session")}>{count(one.sessions)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {causes.count > SHOWN && place.value.path === "/" && <a class="more mute" href={href(listPath({}, "/tools"))}>{full(causes.count)} causes in all</a>}
    </Panel>
  );
}

const SHOWN = 5; // rows that there is room for

function ofCause(cause: string): string {
  const gone = cause === "killed" || cause === "lost";
  return gone ? listPath({ status: [cause], cause: null, view: null }, "/") : listPath({ cause, view: null }, "/");
}

export function ToolsPanel({ board }: { board: Dashboard }) {
  const { tools } = board;
  return (
    <Panel name="Slowest tools, p95" sql={tools.sql} extra={<Since board={board} />}>
      {tools.rows.length === 0 ? <p class="mute">{board.reading ? "Reading…" : "No tool was called."}</p> : (
        <table class="cells"><colgroup><col /><col class="few" /><col class="few" /></colgroup>
          <thead class="hidden"><tr><th>Tool</th><th>p95</th><th>Calls</th></tr></thead>
          <tbody>
            {tools.rows.map((one) => (
              <tr key={one.name}>
                <td><a href={href(listPath({ tool: one.name, view: null }, "/"))}>{seen(one.name)}</a> {one.failed > 0 && <span class="bad">{count(one.failed)} ✗</span>}</td>
                <td class="num">{duration(one.p95_ms)}</td>
                <td class="num"><a href={href(listPath({ tool: one.name, view: null }, "/"))}>{full(one.calls)}×</a></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {tools.count > SHOWN && <a class="more mute" href={href(listPath({}, "/tools"))}>{full(tools.count)} tools in all</a>}
    </Panel>
  );
}

/** Said where not all events of the window are counted, or not yet. */
export function Since({ board }: { board: Dashboard }) {
  if (board.events_since_ms === null || (board.since_ms !== null && board.events_since_ms <= board.since_ms)) return null;
  const since = date(board.events_since_ms);
  return <span class="since" title={`Events before ${since} are not counted here`}>{board.reading ? "reading…" : `since ${since.slice(5)}`}</span>;
}

/** 1,284 */
export function full(value: number): string {
  return value.toLocaleString("en");
}

export function plural(n: number, word: string): string {
  return `${full(n)} ${word}${n === 1 ? "" : "s"}`;
}

/** $214 · $3.40 · ≥ $0.18 */
export function shortMoney(usd: number | null, unpriced: number): string {
  if (usd === null || usd < 0.01) return money(usd, unpriced);
  return `${unpriced ? "≥ " : ""}$${usd < 100 ? usd.toFixed(2) : Math.round(usd).toLocaleString("en")}`;
}
