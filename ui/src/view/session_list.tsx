import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Overview } from "../state/overview.ts";
import { filtersOf } from "../model/search.ts";
import { go, place, sessionPath } from "../state/location.ts";
import { Nothing } from "./nothing.tsx";
import { plural } from "./panels.tsx";
import { SessionLine } from "./session_line.tsx";

export const LINE = 30;
const BEYOND = 6;
const COLUMNS = ["Session", "State", "Agent", "Steps", "Errors", "Tokens", "Cost", "Took", "Began", "Last"] as const;

/** The sessions, of which only the lines in sight are drawn. */
export function SessionList({ overview }: { overview: Overview }) {
  const scroller = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const at = useSignal<string | null>(null); // the session that has the focus, or had it last
  const picked = useSignal<readonly string[]>([]); // to be compared
  const rows = overview.rows.value;
  const from = Math.max(0, Math.floor(top.value / LINE) - BEYOND);
  const shown = rows.slice(from, from + Math.ceil(height.value / LINE) + 2 * BEYOND);
  const place_ = Math.max(0, at.value === null ? 0 : rows.findIndex((one) => one.session_id === at.value));

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const watch = new ResizeObserver(() => (height.value = element.clientHeight));
    watch.observe(element);
    return () => watch.disconnect();
  }, [rows.length === 0]);
  useLayoutEffect(() => {
    if (from + shown.length + 20 > rows.length) void overview.next();
  });

  if (overview.refusal.value || rows.length === 0) return <Nothing overview={overview} filtered={filtersOf(place.value.query).size > 0 || overview.zoom.value !== null} />;

  const focus = (index: number) => {
    const to = Math.max(0, Math.min(rows.length - 1, index));
    at.value = rows[to]!.session_id;
    const element = scroller.current!;
    if (to * LINE < element.scrollTop) element.scrollTop = to * LINE;
    else if ((to + 2) * LINE > element.scrollTop + element.clientHeight) element.scrollTop = (to + 2) * LINE - element.clientHeight;
    requestAnimationFrame(() => element.querySelector<HTMLElement>(`[data-at="${to}"]`)?.focus({ preventScroll: true }));
  };
  const pick = (id: string) => {
    const without = picked.value.filter((one) => one !== id);
    picked.value = without.length < picked.value.length ? without : [...without, id].slice(-2);
  };
  const page = Math.max(1, Math.floor(height.value / LINE) - 2);
  const moves: Readonly<Record<string, () => void>> = {
    ArrowDown: () => focus(place_ + 1),
    ArrowUp: () => focus(place_ - 1),
    j: () => focus(place_ + 1),
    k: () => focus(place_ - 1),
    PageDown: () => focus(place_ + page),
    PageUp: () => focus(place_ - page),
    Home: () => focus(0),
    End: () => focus(rows.length - 1),
    Enter: () => go(sessionPath(rows[place_]!.session_id)),
    x: () => pick(rows[place_]!.session_id),
  };
  return (
    <div class="list">
      <div
        ref={scroller}
        class="roster"
        role="grid"
        aria-label="Sessions, the latest first"
        aria-rowcount={overview.more.value ? -1 : rows.length + 1}
        onScroll={(event) => {
          top.value = event.currentTarget.scrollTop;
          overview.atTop.value = top.value < LINE;
          if (overview.atTop.value && overview.held.value.length) overview.release();
        }}
        onKeyDown={(event) => {
          const move = event.ctrlKey || event.metaKey || event.altKey ? undefined : moves[event.key];
          if (!move) return;
          event.preventDefault();
          move();
        }}
      >
        <div class="head" role="row" aria-rowindex={1}>
          {COLUMNS.map((name) => <span key={name} role="columnheader" class={`c-${name.toLowerCase()}`}>{name}</span>)}
        </div>
        <div class="room" role="rowgroup" style={{ height: `${rows.length * LINE}px`, paddingTop: `${from * LINE}px` }}>
          {shown.map((row, number) => (
            <SessionLine
              key={row.session_id}
              row={row}
              index={from + number}
              now={row.live || row.reason === "awaiting_input" ? overview.now.value : 0}
              current={from + number === place_}
              selected={at.value === row.session_id}
              picked={picked.value.includes(row.session_id)}
              onFocus={() => (at.value = row.session_id)}
            />
          ))}
        </div>
      </div>
      {overview.held.value.length > 0 && (
        <button class="fresh" onClick={() => ((scroller.current!.scrollTop = 0), overview.release())}>↑ {plural(overview.held.value.length, "new session")}</button>
      )}
      {picked.value.length > 0 && <Picked picked={picked.value} onClear={() => (picked.value = [])} />}
    </div>
  );
}

function Picked({ picked, onClear }: { picked: readonly string[]; onClear: () => void }) {
  const [a, b] = picked;
  return (
    <div class="picked" role="status">
      {b === undefined ? "One session picked: press x on another one to compare" : "Two sessions picked"}
      {b !== undefined && <button class="button" onClick={() => go(`/compare?${new URLSearchParams({ a: a!, b })}`)}>Compare</button>}
      <button class="button" onClick={onClear}>Clear</button>
    </div>
  );
}
