// The commands that print what the page shows, and its text for a chat or an issue.
import { STATE_WORDS, sessionState, stateOf } from "./rows.ts";
import type { Row, SessionRow } from "./wire.ts";
import { count, date, duration, money } from "./words.ts";

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export function showCommand(session: string, step: number | null, tab: string | null): string {
  if (step !== null) return `agent-journal show ${quoted(`${session}/${step}`)}${tab === "prompt" ? " --prompt" : ""}`;
  const option = { conversation: " --messages", events: " --events" }[tab ?? ""] ?? "";
  if (tab === "state") return `agent-journal context ${quoted(session)}`;
  return `agent-journal show ${quoted(session)}${option}`;
}

/** A fence that the text cannot close. */
function fenced(text: string, language = ""): string {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map((ticks) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

function pretty(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** A session as Markdown: what it did, step by step. `rows` with how deep each stands. */
export function sessionMarkdown(session: SessionRow, rows: readonly { row: Row; depth: number }[], now: number): string {
  const tokens = session.input_tokens === null ? null : session.input_tokens + (session.output_tokens ?? 0);
  const head = [
    `# ${session.session_id}`,
    "",
    `${STATE_WORDS[sessionState(session)]} · ${session.agent ?? "no agent"} · began ${date(session.began_ms)} · ` +
      `${session.steps} steps · ${count(tokens)} tokens · ${money(session.cost_usd, session.unpriced_calls)} · ${session.errors} errors`,
    "",
  ];
  const lines = rows.map(({ row, depth }) => {
    const took = duration(row.status === "running" ? now - row.began_ms : row.worked_ms);
    const what = [row.given, row.gave].filter(Boolean).join(" → ");
    const error = row.error ? ` **${row.error}**` : "";
    return `${"  ".repeat(depth)}- ${row.number} ${row.kind.toLowerCase()} **${row.name}** ${STATE_WORDS[stateOf(row)]} ${took}${error} ${what}`.trimEnd();
  });
  return [...head, ...lines, ""].join("\n");
}

/** A step as Markdown, with all that went in and came out. */
export function stepMarkdown(session: string, row: Row, detail: Readonly<Record<string, unknown>> | null): string {
  const parts = [`## ${session} · step ${row.number} · ${row.kind.toLowerCase()} ${row.name}`, "", `${STATE_WORDS[stateOf(row)]}, ${duration(row.worked_ms)}`, ""];
  const error = detail?.["error"] as { type?: string; message?: string; stack?: string } | null | undefined;
  if (error) parts.push("### Error", "", fenced([`${error.type}: ${error.message}`, error.stack].filter(Boolean).join("\n")), "");
  for (const name of ["input", "output"]) {
    const value = detail?.[name];
    if (value !== null && value !== undefined) parts.push(`### ${name[0]!.toUpperCase()}${name.slice(1)}`, "", fenced(pretty(value), typeof value === "string" ? "" : "json"), "");
  }
  return parts.join("\n");
}
