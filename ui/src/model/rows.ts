// What a row of the tree is, in the words and classes that it is shown with.
import type { Row, SessionRow } from "./wire.ts";

export type State = "ok" | "error" | "running" | "killed" | "lost" | "awaiting" | "cancelled";

/** In which state a step is. `at`: as it was then, for one who plays the session again. */
export function stateOf(row: Row, at = Infinity): State {
  if (at < Infinity && (row.ended_ms ?? row.seen_ms ?? Infinity) > at) return "running";
  switch (row.status) {
    case "ok":
      return "ok";
    case "error":
      return "error";
    case "running":
      return "running";
    case "cancelled":
      return "cancelled";
    default:
      if (row.reason === "killed") return "killed";
      if (row.reason === null || row.reason === "awaiting_input") return "awaiting";
      return row.reason === "cancelled" ? "cancelled" : "lost";
  }
}

export const STATE_WORDS: Readonly<Record<State, string>> = {
  ok: "completed",
  error: "error",
  running: "running",
  killed: "killed",
  lost: "lost",
  awaiting: "awaiting input",
  cancelled: "cancelled",
};

/** The state of a session as those of steps are: capitals are what the journal writes. */
export function sessionState(session: SessionRow): State {
  const { status, reason } = session;
  if (reason === "awaiting_input" || status === "AWAITING_INPUT") return "awaiting";
  if (reason === "cancelled" || status === "CANCELLED") return "cancelled";
  if (status === "COMPLETED") return "ok";
  if (status === "FAILED" || status === "ERROR" || status.endsWith("_ERROR")) return "error";
  if (status === "INTERRUPTED") return reason === "killed" ? "killed" : "lost";
  return session.live ? "running" : "ok";
}

const KINDS = ["agent", "node", "model", "tool", "retrieval", "step"];

/** The class that gives a kind its hue. */
export function kindClass(kind: string): string {
  const small = kind.toLowerCase();
  return `is-${KINDS.includes(small) ? small : "step"}`;
}

/** Agents and nodes are the shells of the work within them: drawn as outlines. */
export function isShell(row: Row): boolean {
  return row.kind === "AGENT" || row.kind === "NODE";
}

/** Until when a row's bar goes: its end, its last sign of life, or now. */
export function endOf(row: Row, now: number): number {
  return row.ended_ms ?? (row.status === "running" ? now : Math.max(row.seen_ms ?? row.began_ms, row.began_ms));
}

/** How long somebody worked at it, so far. */
export function workedOf(row: Row, now: number): number {
  return row.status === "running" ? Math.max(0, now - row.began_ms - row.waited_ms) : (row.worked_ms ?? endOf(row, now) - row.began_ms);
}

/** Whether a row must be seen even where those like it are folded. */
export function isExceptional(row: Row): boolean {
  return row.status !== "ok" || row.errors > 0 || row.warnings > 0;
}

export function tokensOf(row: Row): number | null {
  return row.input_tokens === null && row.output_tokens === null ? null : (row.input_tokens ?? 0) + (row.output_tokens ?? 0);
}
