import assert from "node:assert/strict";
import { test } from "node:test";
import { axisOf, roomySpan } from "./axis.ts";

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a} is not ${b}`);

test("Without a wait a moment stands where it lies between both ends", () => {
  const axis = axisOf({ from: 1000, to: 3000 }, []);
  near(axis.at(1500), 0.25);
  near(axis.msAt(0.25), 1500);
});

test("A wait of hours takes as little room as one of minutes, and what is around it keeps its scale", () => {
  const axis = axisOf({ from: 0, to: 7_200_000 + 2000 }, [{ began: 1000, ended: 7_201_000, what: "" }]);
  near(axis.at(1000), 0.494);
  near(axis.at(7_201_000), 0.506);
  near(axis.msAt(axis.at(500)), 500);
  assert.equal(axis.gaps.length, 1);
});

test("There are few ticks, and none stands on another", () => {
  const axis = axisOf({ from: 0, to: 134_000 }, []);
  assert.ok(axis.ticks.length >= 3 && axis.ticks.length <= 6);
  axis.ticks.slice(1).forEach((tick, at) => assert.ok(tick.place - axis.ticks[at]!.place > 0.1));
});

test("While it runs, the end of an axis moves in steps, and always leaves room", () => {
  const ends = new Set<number>();
  for (let now = 2000; now < 60_000; now += 100) {
    const { to } = roomySpan(0, now, []);
    assert.ok(to > now);
    ends.add(to);
  }
  assert.ok(ends.size < 40);
});
