import type { Share, Shares } from "../model/wire_dashboard.ts";
import { STATES } from "../model/search.ts";
import { count, duration, seen } from "../model/words.ts";
import { href } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath } from "../state/overview.ts";
import { Panel } from "./panel.tsx";
import { full, plural, shortMoney } from "./panels.tsx";
import { Spark } from "./spark.tsx";

/** Sessions by agent, by user and by tag. */
export function AgentsPage({ overview }: { overview: Overview }) {
  const board = overview.board.value;
  if (!board) return <main class="tables"><h1 class="hidden">Agents</h1><p class="waiting" role="status">Counting…</p></main>;
  return (
    <main class="tables" tabIndex={0} aria-label="Agents, users, tags">
      <h1 class="hidden">Agents</h1>
      <Table name="Agents" by="agent" shares={board.agents} />
      <Table name="Users" by="user" shares={board.users} />
      <Table name="Tags" by="tag" shares={board.tags} />
    </main>
  );
}

function Table({ name, by, shares }: { name: string; by: string; shares: Shares }) {
  const known = shares.rows.filter((one) => one.name !== null);
  const more = shares.count - shares.rows.length;
  return (
    <Panel name={name} sql={shares.sql}>
      {known.length === 0 ? <p class="mute">No session says {by === "agent" ? "its agent" : `any ${by}`}.</p> : (
        <table class="all">
          <thead>
            <tr><th>{name.slice(0, -1)}</th><th>Begun</th><th class="num">Sessions</th><th class="num">Running</th><th class="num">Failed</th><th class="num">p50</th><th class="num">p95</th><th class="num">Tokens</th><th class="num">Cost</th></tr>
          </thead>
          <tbody>{shares.rows.map((one) => <Line key={one.name} one={one} by={by} />)}</tbody>
        </table>
      )}
      {more > 0 && <p class="mute">{full(more)} more are not shown.</p>}
    </Panel>
  );
}

function Line({ one, by }: { one: Share; by: string }) {
  const name = one.name;
  const to = (more: Readonly<Record<string, string | readonly string[]>> = {}) => href(listPath({ [by]: name, ...more }, "/"));
  const linked = (value: number, more?: Readonly<Record<string, readonly string[]>>) => (name === null ? full(value) : <a href={to(more)}>{full(value)}</a>);
  return (
    <tr>
      <td>{name === null ? <span class="mute">(none)</span> : <a href={to()}><b>{seen(name)}</b></a>}</td>
      <td><Spark counts={one.began} label={`${plural(one.sessions, "session")}; begun by time: ${one.began.join(" ")}`} /></td>
      <td class="num">{linked(one.sessions)}</td>
      <td class="num">{one.running ? linked(one.running, { status: STATES["running"]! }) : <span class="mute">0</span>}</td>
      <td class="num">{one.failed ? <span class="bad">{linked(one.failed, { status: STATES["failed"]! })}</span> : <span class="mute">0</span>}</td>
      <td class="num">{duration(one.p50_ms)}</td>
      <td class="num">{duration(one.p95_ms)}</td>
      <td class="num">{one.tokens ? count(one.tokens) : "—"}</td>
      <td class="num" title={one.unpriced_calls ? plural(one.unpriced_calls, "unpriced call") : ""}>{shortMoney(one.cost_usd, one.unpriced_calls)}</td>
    </tr>
  );
}
