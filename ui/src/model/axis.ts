// Where a moment stands on the axis: stretches in which nobody worked are folded to a narrow gap.
import type { Wait } from "./tree.ts";

/** Of the whole width, what a folded wait takes. */
const GAP = 0.012;

export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Axis {
  /** 0..1 of the width that is shown; outside of it what is zoomed away. */
  at(ms: number): number;
  /** The moment at a place. */
  msAt(place: number): number;
  readonly ticks: readonly { readonly place: number; readonly ms: number }[];
  /** From tick to tick, in milliseconds. */
  readonly step: number;
  readonly gaps: readonly { readonly place: number; readonly wait: Wait }[];
}

/** An axis over a span, with the waits in it folded. */
export function axisOf(span: Span, waits: readonly Wait[]): Axis {
  const within = waits.filter((one) => one.ended > span.from && one.began < span.to);
  const pieces: { ms: number; place: number; wait?: Wait }[] = [];
  const worked = Math.max(1, span.to - span.from - within.reduce((sum, one) => sum + clip(one, span), 0));
  const scale = (1 - GAP * within.length) / worked;
  let place = 0;
  let ms = span.from;
  pieces.push({ ms, place });
  for (const wait of within) {
    const began = Math.max(wait.began, span.from);
    place += Math.max(0, began - ms) * scale;
    pieces.push({ ms: began, place, wait });
    place += GAP;
    ms = Math.min(wait.ended, span.to);
    pieces.push({ ms, place });
  }
  pieces.push({ ms: span.to, place: 1 });

  const step = tickStep(worked, 5);
  const at = (time: number) => across(pieces, "ms", "place", time);
  return {
    at,
    msAt: (there) => across(pieces, "place", "ms", there),
    ticks: ticksOf(span, step, pieces, at),
    step,
    gaps: pieces.flatMap((one) => (one.wait ? [{ place: one.place + GAP / 2, wait: one.wait }] : [])),
  };
}

function clip(wait: Wait, span: Span): number {
  return Math.min(wait.ended, span.to) - Math.max(wait.began, span.from);
}

type Piece = { readonly ms: number; readonly place: number };

function across(pieces: readonly Piece[], from: keyof Piece, to: keyof Piece, value: number): number {
  let low = 0;
  let high = pieces.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (pieces[middle]![from] <= value) low = middle;
    else high = middle;
  }
  const a = pieces[low]!;
  const b = pieces[high]!;
  const width = b[from] - a[from];
  return width <= 0 ? a[to] : a[to] + ((value - a[from]) / width) * (b[to] - a[to]);
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000, 86_400_000];

/** A step of an axis that gives at most so many ticks. */
export function tickStep(width: number, most: number): number {
  return STEPS.find((one) => width / one <= most) ?? Math.ceil(width / most / 86_400_000) * 86_400_000;
}

function ticksOf(span: Span, step: number, pieces: readonly (Piece & { wait?: Wait })[], at: (ms: number) => number) {
  const ticks: { place: number; ms: number }[] = [];
  for (let n = 0; n < pieces.length - 1; n++) {
    const piece = pieces[n]!;
    if (piece.wait) continue;
    const until = pieces[n + 1]!.ms;
    for (let ms = span.from + Math.ceil((piece.ms - span.from) / step) * step; ms < until && ticks.length < 50; ms += step) {
      const place = at(ms);
      if (place < 0.97 && (ticks.length === 0 || place - ticks.at(-1)!.place > 0.11)) ticks.push({ place, ms });
    }
  }
  return ticks;
}

/** A span that begins there, with room beyond what has passed: in steps, so that what stands does not creep. */
export function roomySpan(began: number, now: number, waits: readonly Wait[]): Span {
  const waited = waits.reduce((sum, one) => sum + one.ended - one.began, 0);
  const worked = Math.max(1000, now - began - waited);
  const grain = 10 ** Math.floor(Math.log10(worked)) / 2;
  return { from: began, to: began + waited + Math.ceil((worked * 1.06) / grain) * grain };
}
