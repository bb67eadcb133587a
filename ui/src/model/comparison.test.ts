import assert from "node:assert/strict";
import { test } from "node:test";
import { apart, differenceWords, fieldsOf, rowsOf, valueText } from "./comparison.ts";
import type { Comparison, SideStep, StepPair } from "./wire_compare.ts";

const step = (number: number, more: Partial<SideStep> = {}): SideStep => ({
  step_id: `s${number}`, number, kind: "TOOL", name: "search", status: "ok", attempts: 1, worked_ms: 1000, input_tokens: null, output_tokens: null, error: null, ...more,
});
const pair = (state: string, number: number, b: Partial<SideStep> | null = {}, differs: string[] = []): StepPair => ({
  state, differs, depth: 0, within: false, a: step(number), b: b && step(number, b),
});
const comparison = (pairs: StepPair[]): Comparison => {
  const side = { session_id: "a", status: "COMPLETED", agent: null, steps: 1, worked_ms: 1, input_tokens: 0, output_tokens: 0 };
  return { a: side, b: side, shared: null, totals: {}, first: null, pairs, more: 0 };
};

test("What is the same is folded where much of it stands together, and opens", () => {
  const compared = comparison([..."1234"].map((one) => pair("same", Number(one))).concat(pair("changed", 5), pair("same", 6)));
  assert.deepEqual(rowsOf(compared, new Set()).map((row) => row.kind), ["fold", "pair", "pair"]);
  assert.equal(rowsOf(compared, new Set([0])).length, 7);
});

test("A difference is said in a few words", () => {
  assert.equal(differenceWords(pair("changed", 1, { status: "error", worked_ms: 4000 }, ["input", "status"])), "input, ok → error, 1.0 s → 4.0 s");
  assert.equal(differenceWords(pair("only_a", 1, null)), "");
});

test("Fields stand side by side, and those that differ are told", () => {
  const found = fieldsOf(pair("changed", 1, { status: "error", error: "KeyError: x" }));
  assert.deepEqual(found.filter(([, , , differs]) => differs).map(([name]) => name), ["state", "error"]);
});

test("Two texts are cut at what they have in common", () => {
  assert.deepEqual(apart("Answer briefly.", "Answer in one line."), ["Answer ", "briefly", "in one line", "."]);
  assert.deepEqual(apart("aa", "aaa"), ["aa", "", "a", ""]);
  assert.equal(valueText({ a: 1 }), '{\n  "a": 1\n}');
});
