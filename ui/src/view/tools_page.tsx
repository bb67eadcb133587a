import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Dashboard } from "../model/wire_dashboard.ts";
import { count, duration, seen } from "../model/words.ts";
import { href, place } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath } from "../state/overview.ts";
import { CausesPanel, full, Since } from "./panels.tsx";
import { Panel } from "./panel.tsx";

const ROWS = 100;

/** Every tool that was called, and every cause of an error: what the panels show the first of. */
export function ToolsPage({ overview }: { overview: Overview }) {
  const whole = useSignal<Dashboard | null>(null);
  const at = overview.board.value?.at_ms;
  useEffect(() => {
    if (at === undefined) return;
    const asking = new AbortController();
    overview.whole(ROWS, asking.signal).then((board) => board && (whole.value = board));
    return () => asking.abort();
  }, [at, place.value.query.toString()]);
  const board = whole.value;
  if (!board) return <main class="tables"><h1 class="hidden">Tools</h1><p class="waiting" role="status">Counting…</p></main>;
  return (
    <main class="tables" tabIndex={0} aria-label="Tools and errors">
      <h1 class="hidden">Tools</h1>
      <Panel name="Tools" sql={board.tools.sql} extra={<Since board={board} />}>
        {board.tools.rows.length === 0 ? <p class="mute">No tool was called.</p> : (
          <table class="all">
            <thead><tr><th>Tool</th><th class="num">Calls</th><th class="num">Failed</th><th class="num">p50</th><th class="num">p95</th></tr></thead>
            <tbody>
              {board.tools.rows.map((one) => (
                <tr key={one.name}>
                  <td><a href={href(listPath({ tool: one.name }, "/"))}><b>{seen(one.name)}</b></a></td>
                  <td class="num"><a href={href(listPath({ tool: one.name }, "/"))}>{full(one.calls)}</a></td>
                  <td class="num">{one.failed ? <span class="bad">{full(one.failed)}</span> : <span class="mute">0</span>}</td>
                  <td class="num">{duration(one.p50_ms)}</td>
                  <td class="num">{duration(one.p95_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {board.tools.count > board.tools.rows.length && <p class="mute">{count(board.tools.count - board.tools.rows.length)} more are not shown.</p>}
      </Panel>
      <CausesPanel board={board} />
    </main>
  );
}
