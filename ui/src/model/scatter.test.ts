import assert from "node:assert/strict";
import { test } from "node:test";
import { dotOf, inParts, laneClass, lanesShown, tick } from "./scatter.ts";

const lane = (type: string, events: number, points: readonly (readonly [number, number])[] = []) => ({ type, events, points });

test("Failures have the first claim to a lane, then what ended, and lanes stand in the order of kinds", () => {
  const lanes = [lane("TOOL_START", 90), lane("TOOL_END", 80), lane("MODEL_END", 70), lane("AGENT_START", 9), lane("TOOL_ERROR", 1), lane("WARNING", 5)];
  assert.deepEqual(lanesShown(lanes, 4).map((one) => one.type), ["AGENT_START", "MODEL_END", "TOOL_END", "TOOL_ERROR"]);
  assert.equal(lanesShown(lanes, 10).length, 6);
});

test("A lane has the hue of its kind, a failure that of errors", () => {
  assert.deepEqual(["MODEL_END", "TOOL_ERROR", "SESSION_FAILED", "WARNING"].map(laneClass), ["is-model", "is-error", "is-error", "is-step"]);
});

test("A dot grows with its events, and one event can be seen", () => {
  assert.ok(dotOf(1, 1).radius > 2);
  assert.ok(dotOf(100, 100).opacity > dotOf(10, 100).opacity);
});

test("What lies in a part of the time is said in words", () => {
  const lanes = [lane("TOOL_END", 1200, [[0, 1000], [1, 200]]), lane("TOOL_ERROR", 1, [[5, 1]])];
  assert.equal(inParts(lanes, 0, 1), "1,200 TOOL_END");
  assert.equal(inParts(lanes, 2, 4), "no events");
  assert.equal(tick(86_400_000, 6), 21_600_000);
});
