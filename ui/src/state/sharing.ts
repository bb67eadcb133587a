// What is copied of the page: a link, the command that prints the same, its text.
import { quoted, sessionMarkdown, showCommand, stepMarkdown } from "../model/commands.ts";
import { copy } from "./copying.ts";
import type { Detail } from "./detail.ts";
import type { Looking } from "./looking.ts";

export function copyLink(): void {
  void copy(location.href, "the link");
}

export function copyCommand(looking: Looking, as: "show" | "html" = "show"): void {
  const { session } = looking;
  const row = looking.node.value?.row;
  const tab = looking.tab.value;
  const file = `${session.id.replace(/[^\w.-]+/g, "_")}.html`;
  const html = `agent-journal export ${quoted(session.id)} --html ${quoted(file)}`;
  const show = showCommand(session.id, row && tab === "steps" ? row.number : null, tab === "steps" ? looking.detailTab.value : tab);
  void copy(as === "html" ? html : show, "the command");
}

/** The step that is looked at, or where none is, the whole session. */
export function copyMarkdown(looking: Looking, detail: Detail): void {
  const { session } = looking;
  const row = looking.node.value?.row;
  const about = session.about.value;
  if (row && looking.detailOpen.value) {
    const inFull = detail.key.value === row.key ? detail.step.value : null;
    return void copy(stepMarkdown(session.id, row, inFull), "the step as Markdown");
  }
  if (!about) return;
  const rows = session.tree.order.map((node) => ({ row: node.row!, depth: Math.max(0, node.depth) }));
  void copy(sessionMarkdown(about, rows, session.now.value), "the session as Markdown");
}
