import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { filtersOf, NAMES, queryOfText, STATES, stateOfQuery, textOfQuery } from "../model/search.ts";
import type { StateCount } from "../model/wire_dashboard.ts";
import { clock, seen } from "../model/words.ts";
import { href, place } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath, setList } from "../state/overview.ts";
import { full } from "./panels.tsx";
import { SessionMark } from "./session_state.tsx";

const PILLS = [["running", "Running"], ["waiting", "Waiting for a human"], ["failed", "Failed"], ["gone", "Killed or lost"], ["cancelled", "Cancelled"], ["completed", "Completed"]] as const;
const NAMED: readonly (readonly [name: string, said: string])[] = [["agent", "agent"], ["user", "user"], ["min_cost", "cost at least $"], ["cause", "error"], ["tool", "tool"], ["q", "text"]];

/** Which sessions: by state with their counts, by whatever else is asked for, and the search box. */
export function FilterBar({ overview }: { overview: Overview }) {
  const { query } = place.value;
  const board = overview.board.value;
  const asked = stateOfQuery(query);
  const all = board ? board.states.rows.reduce((sum, one) => sum + one.sessions, 0) : null;
  return (
    <div class="filters">
      <nav class="chips" aria-label="Sessions by state">
        <a class="pill" href={href(listPath({ status: null }))} aria-current={!query.has("status") ? "true" : undefined}>All{all !== null && <b>{full(all)}</b>}</a>
        {PILLS.map(([state, name]) => {
          const count = board ? counted(board.states.rows, STATES[state]!) : null;
          if (!count && state !== asked && state !== "running" && state !== "failed") return null;
          return (
            <a key={state} class="pill" href={href(listPath({ status: state === asked ? null : STATES[state]! }))} aria-current={state === asked ? "true" : undefined}>
              <SessionMark state={state} />{name}{count !== null && <b>{full(count)}</b>}
            </a>
          );
        })}
      </nav>
      <Given query={query} overview={overview} />
      <a class="pill view" href={href(listPath({ view: overview.events.value ? null : "events", type: null }))} aria-current={overview.events.value ? "true" : undefined}>Events</a>
      <SearchBox />
    </div>
  );
}

function counted(rows: readonly StateCount[], states: readonly string[]): number {
  return rows.reduce((sum, one) => sum + (states.includes(one.status) || (one.reason !== null && states.includes(one.reason)) ? one.sessions : 0), 0);
}

/** What else is asked for, each with what takes it away. */
function Given({ query, overview }: { query: URLSearchParams; overview: Overview }) {
  const given: [string, string, Record<string, string | readonly string[] | null>][] = [];
  const zoom = overview.zoom.value;
  if (zoom) given.push([`${clock(zoom[0])} – ${clock(zoom[1])}`, "time", { from: null, to: null }]);
  if (query.has("status") && !stateOfQuery(query)) given.push([query.getAll("status").join(", ").toLowerCase(), "state", { status: null }]);
  for (const [name, said] of NAMED) {
    const value = query.get(name);
    if (value) given.push([name === "min_cost" ? `${said}${value}` : `${said}: ${value}`, said, { [name]: null }]);
  }
  const tags = query.getAll("tag");
  for (const tag of tags) given.push([tag.startsWith("tenant=") ? `tenant: ${tag.slice(7)}` : `tag: ${tag}`, "tag", { tag: tags.filter((one) => one !== tag) }]);
  return (
    <>
      {given.map(([text, name, without]) => (
        <button key={text} class="pill given" aria-label={`Without ${name}: ${text}`} onClick={() => setList(without)}><span>{seen(text)}</span> ✕</button>
      ))}
    </>
  );
}

function SearchBox() {
  const box = useRef<HTMLInputElement>(null);
  const typed = useSignal<string | null>(null); // null: what the address says
  useSignalEffect(() => {
    place.value;
    typed.value = null;
  });
  const search = () => {
    const query = queryOfText(box.current!.value);
    const changes = Object.fromEntries(NAMES.map((name) => [name, query.getAll(name).length ? query.getAll(name) : null]));
    setList(changes);
  };
  return (
    <form
      class="looking"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        search();
        document.querySelector<HTMLElement>('.roster [tabindex="0"]')?.focus();
      }}
    >
      <input
        ref={box}
        class="look"
        type="search"
        aria-label="Search sessions"
        placeholder={'agent:researcher "A-1042"'}
        value={typed.value ?? textOfQuery(filtersOf(place.value.query))}
        onInput={(event) => (typed.value = event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Escape" && box.current!.blur()}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}
