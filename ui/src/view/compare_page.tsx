import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { rowsOf } from "../model/comparison.ts";
import type { CompareRow } from "../model/comparison.ts";
import type { Comparison } from "../model/wire_compare.ts";
import { count, duration, seen } from "../model/words.ts";
import { copy } from "../state/copying.ts";
import { href, place, sessionPath, setQuery } from "../state/location.ts";
import { getJson, Refusal } from "../state/source.ts";
import { toggleTheme } from "../state/theme.ts";
import { CompareDetail } from "./compare_detail.tsx";
import { CompareLine, FoldLine } from "./compare_line.tsx";
import { full } from "./panels.tsx";
import { Refused } from "./refused.tsx";
import { Toast } from "./toast.tsx";

const LINE = 24;
const BEYOND = 6;

/** Two sessions on one column of steps, where they first went different ways, and what each pair differs in. */
export function ComparePage() {
  const found = useSignal<Comparison | null>(null);
  const refusal = useSignal<Refusal | null>(null);
  const a = place.value.query.get("a") ?? "";
  const b = place.value.query.get("b") ?? "";
  useEffect(() => {
    document.title = "Compare · agent journal";
    const asking = new AbortController();
    found.value = refusal.value = null;
    getJson<Comparison>(`/api/compare?${new URLSearchParams({ a, b })}`, asking.signal).then(
      (comparison) => (found.value = comparison),
      (error) => !asking.signal.aborted && (refusal.value = error instanceof Refusal ? error : new Refusal(0, String(error))),
    );
    return () => asking.abort();
  }, [a, b]);
  if (!a || !b) return <Refused refusal={new Refusal(400, "Name two sessions: pick them in the list with x, or open /compare?a=SESSION&b=SESSION.")} what="A comparison" />;
  if (refusal.value) return <Refused refusal={refusal.value} what="This comparison" />;
  if (!found.value) return <p class="waiting" role="status">Comparing…</p>;
  return <Compared comparison={found.value} a={a} b={b} />;
}

function Compared({ comparison, a, b }: { comparison: Comparison; a: string; b: string }) {
  const open = useSignal<ReadonlySet<number>>(new Set());
  const rows = useComputed(() => rowsOf(comparison, open.value));
  const scroller = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const asked = place.value.query.get("at");
  const at = asked === null ? (comparison.first ?? 0) : Number(asked) || 0;
  const index = Math.max(0, rows.value.findIndex((row) => row.at === at && row.kind === "pair"));
  const from = Math.max(0, Math.floor(top.value / LINE) - BEYOND);
  const shown = rows.value.slice(from, from + Math.ceil(height.value / LINE) + 2 * BEYOND);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const watch = new ResizeObserver(() => (height.value = element.clientHeight));
    watch.observe(element);
    element.scrollTop = Math.max(0, index * LINE - element.clientHeight / 3);
    return () => watch.disconnect();
  }, []);

  const focus = (to: number) => {
    const row = rows.value[Math.max(0, Math.min(rows.value.length - 1, to))];
    if (!row) return;
    const line = rows.value.indexOf(row);
    const element = scroller.current!;
    if (line * LINE < element.scrollTop) element.scrollTop = line * LINE;
    else if ((line + 2) * LINE > element.scrollTop + element.clientHeight) element.scrollTop = (line + 2) * LINE - element.clientHeight;
    if (row.kind === "pair") setQuery({ at: String(row.at) });
    requestAnimationFrame(() => element.querySelector<HTMLElement>(`[data-line="${line}"]`)?.focus({ preventScroll: true }));
  };
  const fold = (row: CompareRow) => {
    const next = new Set(open.value);
    if (!next.delete(row.at)) next.add(row.at);
    open.value = next;
  };
  const next = (by: 1 | -1) => {
    for (let line = index + by; line >= 0 && line < rows.value.length; line += by) {
      const row = rows.value[line]!;
      if (row.kind === "pair" && row.pair.state !== "same" && !row.pair.within) return focus(line);
    }
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const line = Number((event.target as HTMLElement).dataset["line"] ?? index);
    const row = rows.value[line];
    const page = Math.max(1, Math.floor(height.value / LINE) - 2);
    const moves: Readonly<Record<string, () => void>> = {
      ArrowDown: () => focus(line + 1),
      ArrowUp: () => focus(line - 1),
      j: () => focus(line + 1),
      k: () => focus(line - 1),
      PageDown: () => focus(line + page),
      PageUp: () => focus(line - page),
      Home: () => focus(0),
      End: () => focus(rows.value.length - 1),
      Enter: () => row?.kind === "fold" && fold(row),
      ArrowRight: () => row?.kind === "fold" && !row.open && fold(row),
      ArrowLeft: () => row?.kind === "fold" && row.open && fold(row),
      n: () => next(1),
      e: () => next(1),
      E: () => next(-1),
      N: () => next(-1),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  };
  const pair = comparison.pairs[at];
  return (
    <div class="compare">
      <Head comparison={comparison} a={a} b={b} onNext={next} />
      <main class="work">
        <h1 class="hidden">Compare {seen(comparison.a.session_id)} and {seen(comparison.b.session_id)}</h1>
        <div class="pairs" ref={scroller} role="treegrid" aria-label="Steps of both sessions" aria-rowcount={rows.value.length} onScroll={(event) => (top.value = event.currentTarget.scrollTop)} onKeyDown={onKey}>
          {comparison.shared !== null && (
            <p class="shared">{comparison.shared === 0 ? "B is a fork of A, from its beginning" : `B is a fork of A: ${full(comparison.shared)} identical steps before`}</p>
          )}
          {comparison.pairs.length === 0 && <p class="waiting">Neither session has a step here.</p>}
          <div role="rowgroup" class="room" style={{ height: `${rows.value.length * LINE}px`, paddingTop: `${from * LINE}px` }}>
            {shown.map((row, number) => {
              const line = from + number;
              return row.kind === "fold"
                ? <FoldLine key={`f${row.at}`} row={row} line={line} current={false} onOpen={() => fold(row)} />
                : <CompareLine key={row.at} pair={row.pair} line={line} selected={row.at === at} current={line === index} onSelect={() => setQuery({ at: String(row.at) })} />;
            })}
          </div>
        </div>
        {pair && <CompareDetail comparison={comparison} pair={pair} />}
      </main>
      <Toast />
    </div>
  );
}

function Head({ comparison, a, b, onNext }: { comparison: Comparison; a: string; b: string; onNext: (by: 1 | -1) => void }) {
  const { totals } = comparison;
  const command = `agent-journal diff ${quoted(a)} ${quoted(b)}`;
  const said = [`${full(totals["same"] ?? 0)} the same`, `${full(totals["changed"] ?? 0)} changed`, `${full(totals["only_a"] ?? 0)} in A alone`, `${full(totals["only_b"] ?? 0)} in B alone`];
  return (
    <header class="site">
      <a class="mark" href={href("/")} aria-label="All sessions" />
      <nav aria-label="Where"><a href={href("/")}>Sessions</a></nav>
      <SideName side="A" of={comparison.a} />
      <SideName side="B" of={comparison.b} />
      <span class="end mute">{comparison.first === null ? "no difference" : said.join(" · ")}</span>
      <button class="button" disabled={comparison.first === null} onClick={() => onNext(1)}>Next difference <kbd>n</kbd></button>
      <button class="button only-wide" title={command} onClick={() => void copy(command, "the command")}>Copy command</button>
      <button class="button square" aria-label="Light or dark" title="Light or dark" onClick={toggleTheme}>◐</button>
    </header>
  );
}

function SideName({ side, of }: { side: "A" | "B"; of: Comparison["a"] }) {
  return (
    <a class={`side side-${side.toLowerCase()}`} href={href(sessionPath(of.session_id))} title={of.session_id}>
      <b>{side}</b> <span>{seen(of.session_id)}</span> <span class="mute only-wide">{duration(of.worked_ms)}, {count(of.input_tokens + of.output_tokens)} tokens</span>
    </a>
  );
}

function quoted(text: string): string {
  return /^[\w@.:/=-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
