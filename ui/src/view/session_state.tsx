import type { SessionRow } from "../model/wire.ts";
import { clock, duration, seen } from "../model/words.ts";
import { StateIcon } from "./icons.tsx";

export type Mark = "running" | "waiting" | "failed" | "gone" | "cancelled" | "completed" | "pending";

const ICONS = { waiting: "awaiting", failed: "error", gone: "killed", cancelled: "cancelled", completed: "ok" } as const;

/** The picture of a session's state: told apart by shape, not by colour alone. */
export function SessionMark({ state }: { state: Mark }) {
  if (state === "running") return <span class="pulse" role="img" aria-label="running" />;
  if (state === "waiting") return <span class="ring" role="img" aria-label="waiting for a human" />;
  if (state === "pending") return <span class="ring quiet" role="img" aria-label="not begun" />;
  return <StateIcon state={ICONS[state]} />;
}

export function markOf(row: SessionRow): Mark {
  if (row.status === "PENDING") return "pending";
  if (row.status === "PROCESSING") return "running";
  if (row.status === "ERROR") return "failed";
  if (row.status === "COMPLETED") return "completed";
  if (row.reason === "awaiting_input") return "waiting";
  return row.reason === "cancelled" ? "cancelled" : "gone";
}

/** How a session is, in a few words. */
export function stateWords(row: SessionRow, now: number): string {
  switch (markOf(row)) {
    case "pending":
      return row.doing ?? "waiting to begin";
    case "running":
      return `${row.doing ?? row.stage ?? "running"}${row.progress !== null ? ` · ${Math.round(row.progress)} %` : ""}`;
    case "waiting":
      return `waiting ${duration(row.updated_ms === null ? null : Math.max(0, now - row.updated_ms))}`;
    case "failed":
      return row.last ?? "failed";
    case "cancelled":
      return "cancelled";
    case "gone":
      return `${row.reason ?? "interrupted"} · last seen ${clock(row.seen_ms ?? row.updated_ms)}`;
    case "completed":
      return row.forked_from ? `forked from ${row.forked_from}` : "";
  }
}

export function SessionState({ row, now }: { row: SessionRow; now: number }) {
  const mark = markOf(row);
  const words = seen(stateWords(row, now));
  return (
    <span class={`st is-${mark}`} title={words}>
      <SessionMark state={mark} />
      <span>{words}</span>
    </span>
  );
}
