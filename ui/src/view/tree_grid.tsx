import { untracked, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import "./grid.css";
import type { TreeNode } from "../model/tree.ts";
import { plural, tick } from "../model/words.ts";
import type { Looking } from "../state/looking.ts";
import { nameShare, setNameShare } from "../state/prefs.ts";
import { barsShown } from "./axis_shown.ts";
import { Divider } from "./divider.tsx";
import { TreeLine } from "./tree_line.tsx";

export const ROW = 24;
const BEYOND = 6; // lines drawn above and below what is seen

/** The tree of steps, of which only the lines in sight are drawn. */
export function TreeGrid({ looking }: { looking: Looking }) {
  const { session } = looking;
  const scroller = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const width = useSignal(1000);
  const seen = useSignal(0); // how many rows there were as the reader left the end
  const byUs = useRef(NaN); // where the list was put by itself, not by its reader
  const from = useComputed(() => Math.max(0, Math.floor(top.value / ROW) - BEYOND));
  const bars = useComputed(() => barsShown(looking, Math.max(1, (width.value - FIXED) * (1 - nameShare.value / 100))));

  session.version.value;
  const { tree } = session;
  const lines = tree.window(from.value, Math.ceil(height.value / ROW) + 2 * BEYOND);
  const selected = looking.node.value;
  const fresh = looking.following.value || !session.live ? 0 : Math.max(0, tree.order.length - seen.value);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const watch = new ResizeObserver(() => {
      height.value = element.clientHeight;
      width.value = element.clientWidth;
    });
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  const scrollTo = (place: number) => {
    const element = scroller.current!;
    const wanted = Math.max(0, Math.min(place, element.scrollHeight - element.clientHeight));
    if (Math.abs(element.scrollTop - wanted) < 1) return;
    byUs.current = wanted;
    element.scrollTop = wanted;
  };
  const intoSight = (node: TreeNode, middle: boolean) => {
    const line = tree.indexOf(node);
    if (line < 0) return;
    const element = scroller.current!;
    const room = element.clientHeight - 2 * ROW;
    const y = line * ROW;
    if (y < element.scrollTop) scrollTo(middle ? y - room / 2 : y);
    else if (y > element.scrollTop + room) scrollTo(middle ? y - room / 2 : y - room);
  };

  useSignalEffect(() => {
    session.version.value;
    if (!looking.following.value || !session.live) return;
    seen.value = tree.order.length;
    const newest = tree.order.at(-1);
    if (newest) requestAnimationFrame(() => scroller.current && looking.following.peek() && intoSight(newest, false));
  });
  useSignalEffect(() => {
    if (!looking.following.value) seen.value = untracked(() => tree.order.length);
  });
  const moved = useRef(0);
  useEffect(() => {
    const wanted = looking.scrollTo.value;
    if (wanted === moved.current || !selected) return;
    const far = moved.current === 0;
    moved.current = wanted;
    intoSight(selected, far);
  });
  // The focus goes with the selection, once its line is drawn.
  useEffect(() => {
    const focused = document.activeElement;
    if (!selected || !scroller.current || (focused !== document.body && !scroller.current.contains(focused))) return;
    const row = scroller.current.querySelector<HTMLElement>('[aria-selected="true"]');
    if (row && row !== document.activeElement) row.focus({ preventScroll: true });
  });

  const onScroll = () => {
    const element = scroller.current!;
    top.value = element.scrollTop;
    if (Math.abs(byUs.current - element.scrollTop) < 2) return void (byUs.current = NaN);
    const newest = tree.order.at(-1);
    if (!newest || !session.live) return;
    const y = tree.indexOf(newest) * ROW;
    const inSight = y >= element.scrollTop - ROW && y <= element.scrollTop + element.clientHeight - ROW;
    looking.following.value = inSight;
  };

  return (
    <div class="grid" style={{ "--share": nameShare.value / 100 }}>
      <div
        class="grid-scroll"
        ref={scroller}
        role="treegrid"
        aria-label="Steps"
        aria-rowcount={tree.lines + 1}
        tabIndex={selected && lines.some((one) => one.node === selected) ? -1 : 0}
        onScroll={onScroll}
        onClick={(event) => onClick(event, looking)}
      >
        <AxisHead looking={looking} bars={bars.value} />
        <div class="grid-space" role="rowgroup" style={{ height: `${tree.lines * ROW}px` }}>
          <div class="grid-window" role="presentation" style={{ top: `${from.value * ROW}px` }}>
            {lines.map((line, at) => (
              <TreeLine
                key={line.wait ? `wait:${line.node.key}` : line.node.key}
                line={line}
                at={from.value + at}
                selected={line.node === selected && !line.wait}
                open={tree.isOpen(line.node)}
                tail={line.node.row ? session.streamed(line.node.row) : ""}
                bars={bars.value}
              />
            ))}
          </div>
        </div>
      </div>
      <div class="gaps">{bars.value.basis === "time" && bars.value.axis.gaps.map((gap) => <i key={gap.place} style={{ left: `${gap.place * 100}%` }} />)}</div>
      <Divider label="Width of the names" value={nameShare.value} least={15} most={85} rightIsMore at={shareAt} onChange={setNameShare} />
      {tree.lines === 0 && <p class="empty">{emptyWords(looking)}</p>}
      {fresh > 0 && (
        <button class="new" onClick={() => (looking.following.value = true)}>
          ↓ {plural(fresh, "new step")}
        </button>
      )}
    </div>
  );
}

const FIXED = 106; // pixels of the columns of numbers

function shareAt(x: number, around: DOMRect): number {
  return ((x - around.left - FIXED) / (around.width - FIXED)) * 100;
}

function emptyWords(looking: Looking): string {
  if (looking.session.tree.filtered) return "No step is as the filter asks. Press Escape to see all.";
  return looking.session.live ? "Nothing has begun yet. Steps stand here as they begin." : "This session has no steps.";
}

function onClick(event: MouseEvent, looking: Looking): void {
  const target = event.target as Element;
  const row = target.closest<HTMLElement>("[data-key]");
  if (!row) return;
  const { tree } = looking.session;
  const node = tree.nodeOf(row.dataset["key"]!);
  if (!node) return;
  if (target.closest(".chevron") || (node.isFold && event.detail === 2)) return looking.setOpen(node, !tree.isOpen(node));
  looking.detailOpen.value = true;
  looking.select(node, false);
  row.focus({ preventScroll: true });
}

function AxisHead({ looking, bars }: { looking: Looking; bars: ReturnType<typeof barsShown> }) {
  const began = looking.session.about.value?.began_ms ?? 0;
  return (
    <div class="axis" role="row" aria-rowindex={1}>
      <div role="columnheader" class="n"><span class="hidden">Number</span></div>
      <div role="columnheader">Step</div>
      <div role="columnheader" class="right">{bars.basis === "cost" ? "Cost" : "Tokens"}</div>
      <div role="columnheader" class="times">
        {bars.basis === "time" ? (
          bars.axis.ticks.map((one) => (
            <span key={one.ms} style={{ left: `${one.place * 100}%` }}>{tick(one.ms - began, bars.axis.step)}</span>
          ))
        ) : (
          <span>{bars.basis}</span>
        )}
      </div>
    </div>
  );
}
