import type { Axis } from "../model/axis.ts";
import { axisOf, roomySpan } from "../model/axis.ts";
import type { Looking } from "../state/looking.ts";
import type { BarsShown } from "./bar.tsx";
import { amountOf } from "./bar.tsx";

const LABEL = 110; // pixels for the label of what ends last

/** From when to when a session goes, as far as is known now. */
export function extentOf(looking: Looking): { began: number; ended: number } {
  const { session } = looking;
  const about = session.about.value;
  const began = Math.min(about?.began_ms ?? Infinity, session.tree.order[0]?.row?.began_ms ?? Infinity);
  if (began === Infinity) return { began: 0, ended: 1000 };
  if (session.live) return { began, ended: session.now.value };
  return { began, ended: Math.max(about?.ended_ms ?? 0, about?.updated_ms ?? 0, about?.seen_ms ?? 0, began + 1) };
}

/** The axis of the whole session, with room for what is still to come, or for labels. */
export function wholeAxis(looking: Looking, room: number): Axis {
  const { session } = looking;
  const { began, ended } = extentOf(looking);
  const waits = session.waits.value;
  if (session.live) return axisOf(roomySpan(began, ended, waits), waits);
  const waited = waits.reduce((sum, one) => sum + one.ended - one.began, 0);
  return axisOf({ from: began, to: ended + (ended - began - waited) * (room - 1) }, waits);
}

/** What the bars are drawn by, as things stand. */
export function barsShown(looking: Looking, width: number): BarsShown {
  const { session } = looking;
  session.version.value;
  const { began, ended } = extentOf(looking);
  const zoom = looking.zoom.value;
  const waits = session.waits.value;
  const played = looking.playedAt.value;
  const basis = looking.basis.value;
  return {
    axis: zoom ? axisOf({ from: began + zoom[0], to: began + zoom[1] }, waits) : wholeAxis(looking, 1 + Math.min(0.4, LABEL / Math.max(1, width - LABEL))),
    basis,
    now: session.live ? session.now.value : ended,
    playedAt: played === null ? Infinity : began + played,
    most: basis === "time" ? 0 : session.tree.root.children.reduce((most, one) => Math.max(most, amountOf(one, basis) ?? 0), 0),
    critical: looking.pill.value === "critical" ? session.critical.value : NONE,
    filtered: session.tree.filtered,
    width,
  };
}

const NONE: ReadonlySet<string> = new Set();
