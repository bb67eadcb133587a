import assert from "node:assert/strict";
import { test } from "node:test";
import { count, duration, money, plural, seen, tick } from "./words.ts";

test("A duration has the unit that a person would say it in", () => {
  const said = [0, 0.4, 340, 1100, 8800, 9960, 38_000, 134_000, 3_840_000, 266_400_000].map(duration);
  assert.deepEqual(said, ["0 ms", "<1 ms", "340 ms", "1.1 s", "8.8 s", "10 s", "38 s", "2:14", "1 h 04", "3 d 2 h"]);
});

test("What is not known is a dash, never 0", () => {
  assert.deepEqual([duration(null), count(null), money(null), money(null, 3)], ["—", "—", "—", "—"]);
});

test("A sum that misses a price says so", () => {
  assert.deepEqual([money(0.18), money(0.18, 2), money(0), money(0.00001)], ["$0.18", "≥ $0.18", "$0", "<$0.0001"]);
});

test("Large counts are short", () => {
  assert.deepEqual([812, 17_400, 999_960, 2_100_000].map(count), ["812", "17.4k", "1.0M", "2.1M"]);
  assert.deepEqual([plural(1, "error"), plural(2, "error")], ["1 error", "2 errors"]);
});

test("Marks that turn or hide text are seen", () => {
  assert.equal(seen("a\u202Egnp.exe\u0000"), "a⟨U+202E⟩gnp.exe⟨U+0000⟩");
  assert.equal(seen("日本語 ✓\ttab\nline"), "日本語 ✓\ttab\nline");
});

test("Two ticks of an axis never read the same", () => {
  assert.deepEqual([0, 20_000, 40_000].map((ms) => tick(7_500_000 + ms, 20_000)), ["2:05:00", "2:05:20", "2:05:40"]);
  assert.deepEqual([tick(0, 500), tick(500, 500), tick(61_500, 500), tick(80_000, 40_000)], ["0 s", "0.5 s", "1:01.500", "1:20"]);
});
