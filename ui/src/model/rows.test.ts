import assert from "node:assert/strict";
import { test } from "node:test";
import { asText, parsed, summary } from "./json.ts";
import { quoted, sessionMarkdown, showCommand, stepMarkdown } from "./commands.ts";
import { sessionState, stateOf } from "./rows.ts";
import type { Row, SessionRow } from "./wire.ts";

const row = (status: string, reason: string | null = null): Row => ({ status, reason, ended_ms: 5, seen_ms: null, name: "x", kind: "TOOL", number: 1, worked_ms: 5, given: "", gave: "", error: null }) as Row;

test("Every state of a step has a word of its own", () => {
  const states = [row("ok"), row("error"), row("running"), row("cancelled"), row("interrupted", "killed"), row("interrupted", "lost"), row("interrupted", "awaiting_input")];
  assert.deepEqual(states.map((one) => stateOf(one)), ["ok", "error", "running", "cancelled", "killed", "lost", "awaiting"]);
});

test("Played again, what had not ended by then runs", () => assert.equal(stateOf(row("error"), 3), "running"));

test("A session's state is told by its status and reason", () => {
  const of = (status: string, reason: string | null = null, live = false) => sessionState({ status, reason, live } as SessionRow);
  assert.deepEqual(
    [of("COMPLETED"), of("ERROR"), of("INTERRUPTED", "killed"), of("INTERRUPTED", "lost"), of("INTERRUPTED", "awaiting_input"), of("PROCESSING", null, true)],
    ["ok", "error", "killed", "lost", "awaiting", "running"],
  );
});

test("Commands can be pasted into a shell whatever the session is called", () => {
  assert.equal(quoted("it's; rm -rf"), `'it'\\''s; rm -rf'`);
  assert.equal(showCommand("a b", 3, "prompt"), "agent-journal show 'a b/3' --prompt");
  assert.equal(showCommand("s", null, "conversation"), "agent-journal show s --messages");
});

test("Markdown of a step holds what went in, in a fence that it cannot close", () => {
  const text = stepMarkdown("s", row("ok"), { input: "```\nrm\n```", output: { a: 1 } });
  assert.ok(text.includes("````\n```\nrm\n```\n````"));
  assert.ok(text.includes('"a": 1'));
});

test("Markdown of a session has a line a step", () => {
  const about = { session_id: "s", status: "COMPLETED", reason: null, live: false, agent: "a", began_ms: 0, steps: 1, input_tokens: null, output_tokens: null, cost_usd: null, unpriced_calls: 0, errors: 0 } as SessionRow;
  assert.ok(sessionMarkdown(about, [{ row: row("ok"), depth: 1 }], 0).includes("  - 1 tool **x** completed 5 ms"));
});

test("Text that is JSON is opened, all else stays text", () => {
  assert.deepEqual(parsed(' {"a":[1]}'), { a: [1] });
  assert.deepEqual([parsed("{no"), parsed("12"), parsed(3)], [null, null, null]);
  assert.equal(summary({ a: 1, b: [2] }), "a: 1, b: […]");
  assert.equal(asText({ a: 1 }), '{\n  "a": 1\n}');
});
