import assert from "node:assert/strict";
import { test } from "node:test";
import { Streamed, tailOf } from "./streamed.ts";

test("What a reconnect repeats is dropped", () => {
  const streamed = new Streamed();
  streamed.take(1, 0, "Spans show ");
  assert.equal(streamed.take(1, 0, "Spans show "), false);
  streamed.take(1, 6, "show what ended");
  assert.equal(streamed.text, "Spans show what ended");
});

test("Where a piece is missing, the text begins anew and knows where it begins", () => {
  const streamed = new Streamed();
  streamed.take(1, 0, "abc");
  streamed.take(1, 10, "xyz");
  assert.deepEqual([streamed.start, streamed.text], [10, "xyz"]);
});

test("A new attempt begins anew, and what an old one still says is dropped", () => {
  const streamed = new Streamed();
  streamed.take(1, 0, "first");
  streamed.take(2, 0, "second");
  assert.equal(streamed.take(1, 5, " more"), false);
  assert.equal(streamed.text, "second");
});

test("A text without end is kept within bounds", () => {
  const streamed = new Streamed();
  for (let at = 0; at < 1_000_000; at += 1000) streamed.take(1, at, "x".repeat(1000));
  assert.ok(streamed.text.length <= 262_144);
  assert.equal(streamed.start + streamed.text.length, 1_000_000);
});

test("A tail is one line", () => assert.equal(tailOf("a\n\n b\tc"), "a b c"));

test("Who begins to listen in the middle sees what the row says of before, and nothing twice", () => {
  const before = new Streamed();
  before.take(1, 7, "now compare");
  assert.equal(before.tail("I will "), "I will now compare");
  before.take(1, 18, " the");
  assert.equal(before.tail("whatever"), "I will now compare the");
  const within = new Streamed();
  within.take(1, 7, "now");
  assert.equal(within.tail("I will now"), "I will now");
});
