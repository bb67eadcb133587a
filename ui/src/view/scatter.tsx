import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { inParts, laneClass, partsOf } from "../model/scatter.ts";
import type { Lane, Lanes } from "../model/wire_dashboard.ts";
import { clock, clockMs, date } from "../model/words.ts";
import { href, place } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath, setList } from "../state/overview.ts";
import { theme } from "../state/theme.ts";
import { draw, LANE } from "./scatter_drawn.ts";

const WIDEN = 4;
const LEAST_MS = 10;

/** Events by type over time: drag, or mark with the arrow keys and press Enter, to zoom; the events are in a table. */
export function Scatter({ lanes, rows, overview }: { lanes: Lanes; rows: readonly Lane[]; overview: Overview }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const names = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  const marked = useSignal<readonly [number, number] | null>(null); // parts, both included
  const dragged = useRef<number | null>(null);
  const last = partsOf(lanes) - 1;
  const said = marked.value && saidOf(lanes, rows, Math.min(...marked.value), Math.max(...marked.value));

  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => (width.value = entry!.contentRect.width));
    watch.observe(canvas.current!);
    return () => watch.disconnect();
  }, []);
  theme.value;
  useLayoutEffect(() => draw(canvas.current!, names.current!, lanes, rows, marked.value), [lanes, rows, width.value, marked.value, theme.value]);

  const partAt = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    return Math.max(0, Math.min(last, Math.floor(((event.clientX - box.left) / box.width) * (last + 1))));
  };
  const zoomTo = (from: number, to: number) => {
    const begins = lanes.from_ms + Math.min(from, to) * lanes.width_ms;
    const ends = lanes.from_ms + (Math.max(from, to) + 1) * lanes.width_ms;
    marked.value = null;
    if (ends - begins >= LEAST_MS) setList({ from: String(Math.round(begins)), to: String(Math.round(ends)) });
  };
  const onKey = (event: KeyboardEvent) => {
    const at = marked.value ?? [last, last];
    const by = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    if (by) {
      const to = Math.max(0, Math.min(last, marked.value ? at[1] + by : at[1]));
      marked.value = [event.shiftKey ? at[0] : to, to];
    } else if (event.key === "Home" || event.key === "End") {
      const to = event.key === "Home" ? 0 : last;
      marked.value = [event.shiftKey ? at[0] : to, to];
    } else if ((event.key === "Enter" || event.key === "+") && marked.value) {
      zoomTo(at[0], at[1]);
    } else if (event.key === "-") {
      widen(overview);
    } else if (event.key === "Escape") {
      if (marked.value) marked.value = null;
      else setList({ from: null, to: null });
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="scatter">
      <div class="names" ref={names}>
        {rows.map((lane) => (
          <a key={lane.type} class={laneClass(lane.type)} style={{ height: `${LANE}px` }} title={`${lane.events} ${lane.type}`} href={href(listPath({ view: "events", type: lane.type }, "/"))}>{lane.type}</a>
        ))}
      </div>
      <div
        class="plot"
        tabIndex={0}
        role="group"
        aria-label="Events by type over time. Arrow keys mark a time, Shift extends it, Enter zooms into it, minus zooms out."
        onKeyDown={onKey}
        onBlur={() => (marked.value = null)}
      >
        <canvas
          ref={canvas}
          style={{ height: `${rows.length * LANE + 20}px` }}
          onPointerDown={(event) => {
            canvas.current!.setPointerCapture(event.pointerId);
            dragged.current = partAt(event);
            marked.value = [dragged.current, dragged.current];
          }}
          onPointerMove={(event) => {
            const to = partAt(event);
            marked.value = [dragged.current ?? to, to];
          }}
          onPointerUp={(event) => {
            const from = dragged.current;
            dragged.current = null;
            if (from !== null && from !== partAt(event)) zoomTo(from, partAt(event));
            else if (from !== null) setList({ view: "events", from: String(lanes.from_ms + from * lanes.width_ms), to: String(lanes.from_ms + (from + 1) * lanes.width_ms) });
          }}
          onPointerLeave={() => dragged.current === null && (marked.value = null)}
        />
        <p class="at" role="status">{said ?? ""}</p>
      </div>
    </div>
  );
}

/** Zooms out, four times as wide around the same middle; from beyond the window to the window. */
function widen(overview: Overview): void {
  const zoom = overview.zoom.peek();
  if (!zoom) return;
  const middle = (zoom[0] + zoom[1]) / 2;
  const half = ((zoom[1] - zoom[0]) / 2) * WIDEN;
  if (2 * half > 86_400_000 && !place.peek().query.get("since")) return setList({ from: null, to: null });
  setList({ from: String(Math.round(middle - half)), to: String(Math.round(middle + half)) });
}

function saidOf(lanes: Lanes, rows: readonly Lane[], from: number, to: number): string {
  return `${timeOf(lanes, from)} – ${timeOf(lanes, to + 1)}: ${inParts(rows, from, to)}`;
}

function timeOf(lanes: Lanes, part: number): string {
  const at = lanes.from_ms + part * lanes.width_ms;
  if (lanes.width_ms >= 3_600_000) return date(at).slice(5);
  return lanes.width_ms >= 60_000 ? clock(at).slice(0, 5) : lanes.width_ms >= 1000 ? clock(at) : clockMs(at);
}
