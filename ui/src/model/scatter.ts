// Events by type over time, as dots: which lanes are drawn, where, and what lies at a place. Knows no canvas.
import type { Lane, Lanes } from "./wire_dashboard.ts";

const KINDS = ["AGENT", "NODE", "MODEL", "TOOL", "RETRIEVAL", "STEP"];

/** The class that gives the hue of a type: that of its kind, or that of errors. */
export function laneClass(type: string): string {
  if (isFailure(type)) return "is-error";
  const kind = type.slice(0, type.lastIndexOf("_"));
  return KINDS.includes(kind) ? `is-${kind.toLowerCase()}` : "is-step";
}

function isFailure(type: string): boolean {
  return type.endsWith("_ERROR") || type.endsWith("_FAILED") || type === "SESSION_INTERRUPTED";
}

/** The lanes that are worth the room, at most so many, in the order of what they are of. */
export function lanesShown(lanes: readonly Lane[], atMost: number): readonly Lane[] {
  const types = new Set(lanes.map((lane) => lane.type));
  const worth = (lane: Lane) => {
    if (isFailure(lane.type)) return 3;
    const other = lane.type.endsWith("_START") ? lane.type.replace(/_START$/, "_END") : "";
    if (lane.type === "AGENT_START") return 2;
    return other && types.has(other) ? 0 : lane.type === "AGENT_END" ? 0 : 1; // an ending says that it began, too
  };
  const chosen = [...lanes].sort((a, b) => worth(b) - worth(a) || b.events - a.events).slice(0, atMost);
  return chosen.sort((a, b) => order(a.type) - order(b.type) || phase(a.type) - phase(b.type) || a.type.localeCompare(b.type));
}

function order(type: string): number {
  const at = KINDS.indexOf(type.slice(0, type.lastIndexOf("_")));
  return at < 0 ? KINDS.length : at;
}

function phase(type: string): number {
  return type.endsWith("_START") ? 0 : type.endsWith("_ERROR") ? 2 : 1;
}

/** How large and how full a dot of so many events is, beside the most that any has. */
export function dotOf(events: number, most: number): { radius: number; opacity: number } {
  const share = most <= 1 ? 0 : Math.log(events) / Math.log(most);
  return { radius: 2.2 + 1.8 * share, opacity: 0.42 + 0.48 * share };
}

/** How many parts a timeline has. */
export function partsOf(lanes: Lanes): number {
  return Math.max(1, Math.floor((lanes.until_ms - lanes.from_ms) / lanes.width_ms) + 1);
}

/** What lies in some parts of the time, of each type, in words: `3 TOOL_END, 1 TOOL_ERROR`. */
export function inParts(lanes: readonly Lane[], from: number, to: number): string {
  const found = lanes.flatMap((lane) => {
    const events = lane.points.reduce((sum, [part, count]) => sum + (part >= from && part <= to ? count : 0), 0);
    return events ? [`${events.toLocaleString("en")} ${lane.type}`] : [];
  });
  return found.join(", ") || "no events";
}

/** A round step for the marks of an axis that is so long, in milliseconds. */
export function tick(span: number, marks: number): number {
  const steps = [1, 5, 10, 50, 100, 500, 1e3, 5e3, 15e3, 6e4, 3e5, 9e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 6048e5, 2592e6];
  return steps.find((step) => span / step <= marks) ?? 31536e6;
}
