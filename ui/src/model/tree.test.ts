import assert from "node:assert/strict";
import { test } from "node:test";
import { Tree } from "./tree.ts";
import type { Row } from "./wire.ts";

let revision = 0;

function row(key: string, parent: string | null, began: number, more: Partial<Row> = {}): Row {
  return {
    key, parent, step_id: key, number: began, kind: "TOOL", name: key, status: "ok", reason: null, began_ms: began,
    ended_ms: began + 1, seen_ms: null, worked_ms: 1, waited_ms: 0, attempts: [], errors: 0, warnings: 0,
    input_tokens: null, output_tokens: null, cost_usd: null, unpriced_calls: 0, error: null, given: "", gave: "",
    tail: "", orphan: false, revision: ++revision, ...more,
  };
}

function shown(tree: Tree): string[] {
  return tree.window(0, 1000).map(({ node, wait }) => `${" ".repeat(node.depth)}${wait ? "…" : node.isFold ? `×${node.children.length} ${node.first.name}` : node.key}`);
}

/** A random tree of this many rows, the same for a seed. */
function random(size: number, seed: number): Row[] {
  let state = seed;
  const next = (n: number) => ((state = (state * 1103515245 + 12345) & 0x7fffffff) >> 8) % n;
  return Array.from({ length: size }, (_, n) => {
    const parent = n === 0 || next(10) === 0 ? null : `k${next(n)}`;
    return row(`k${n}`, parent, n, { name: `t${next(3)}`, errors: next(9) === 0 ? 1 : 0, input_tokens: next(2) ? next(99) : null });
  });
}

test("Rows stand below their parents in the order of their start", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), row("b", "a", 1), row("c", null, 2), row("d", "a", 3)]);
  assert.deepEqual(shown(tree), ["a", " b", " d", "c"]);
});

test("An ending moves nothing", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0, { status: "running", ended_ms: null }), row("b", "a", 1, { status: "running" }), row("c", "a", 2)]);
  const before = shown(tree);
  tree.take([row("b", "a", 1), row("a", null, 0)]);
  assert.deepEqual(shown(tree), before);
});

test("An older revision of a row changes nothing, and the same one twice does no harm", () => {
  const tree = new Tree();
  const old = row("a", null, 0, { errors: 1 });
  const newer = row("a", null, 0, { errors: 2 });
  tree.take([newer, old, newer]);
  assert.equal(tree.root.sums.errors, 2);
  assert.equal(tree.root.sums.rows, 1);
});

test("A row that comes before its parent goes below it when that comes", () => {
  const tree = new Tree();
  tree.take([row("b", "a", 1)]);
  assert.deepEqual(shown(tree), ["b"]);
  tree.take([row("a", null, 0)]);
  assert.deepEqual(shown(tree), ["a", " b"]);
  assert.equal(tree.root.sums.rows, 2);
});

test("A row that is no more leaves, and what stood below it goes where its new parent is", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), row("b", "a", 1), ...Array.from({ length: 5 }, (_, n) => row(`f${n}`, "b", n + 2, { name: "fetch", errors: 1 }))]);
  tree.drop("b");
  assert.equal(tree.root.sums.rows, 6);
  tree.take([row("c", "a", 1), ...Array.from({ length: 5 }, (_, n) => row(`f${n}`, "c", n + 2, { name: "fetch" }))]);
  assert.deepEqual(shown(tree), ["a", " c", "  ×5 fetch"]);
  assert.deepEqual([tree.root.sums.rows, tree.root.sums.errors, tree.drop("b")], [7, 0, null]);
});

test("Rows whose parents go round in a circle are shown all the same", () => {
  const tree = new Tree();
  tree.take([row("a", "b", 0), row("b", "a", 1), row("c", "c", 2)]);
  assert.equal(tree.lines, 3);
});

test("Five siblings of one name are one fold, which errors are never hidden in", () => {
  const tree = new Tree();
  tree.take([row("p", null, 0)]);
  const many = Array.from({ length: 7 }, (_, n) => row(`f${n}`, "p", n + 1, { name: "fetch", errors: n === 3 ? 1 : 0 }));
  tree.take(many.slice(0, 4));
  assert.deepEqual(shown(tree), ["p", " f0", " f1", " f2", " f3"]);
  tree.take(many.slice(4));
  assert.deepEqual(shown(tree), ["p", " ×7 fetch", "  f3"]);
  tree.setOpen(tree.root.children[0]!.children[0]!, true);
  assert.equal(tree.lines, 9);
});

test("A row that runs stands beside its fold until it ends", () => {
  const tree = new Tree();
  tree.take(Array.from({ length: 6 }, (_, n) => row(`f${n}`, null, n, { name: "fetch", status: n === 5 ? "running" : "ok" })));
  assert.deepEqual(shown(tree), ["×6 fetch", " f5"]);
  tree.take([row("f5", null, 5, { name: "fetch" })]);
  assert.deepEqual(shown(tree), ["×6 fetch"]);
});

test("A filter shows what it takes and what that stands in", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), row("b", "a", 1), row("c", "b", 2, { errors: 1 }), row("d", "a", 3)]);
  tree.setOpen(tree.nodes.get("b")!, false);
  tree.setFilter((one) => one.errors > 0);
  assert.deepEqual(shown(tree), ["a", " b", "  c"]);
  tree.take([row("e", "d", 4, { errors: 1 })]);
  assert.deepEqual(shown(tree), ["a", " b", "  c", " d", "  e"]);
  tree.setFilter(null);
  assert.deepEqual(shown(tree), ["a", " b", " d", "  e"]);
});

test("A step that is linked to is shown wherever it stands", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), ...Array.from({ length: 6 }, (_, n) => row(`f${n}`, "a", n + 1, { name: "fetch" }))]);
  tree.setOpen(tree.nodes.get("a")!, false);
  tree.reveal(tree.find("f4")!);
  assert.deepEqual(shown(tree), ["a", " ×6 fetch", "  f4"]);
  assert.equal(tree.indexOf(tree.find("f4")!), 2);
});

test("A wait stands above the first step after it", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), row("b", "a", 1), row("c", "a", 100)]);
  tree.setWaits([{ began: 2, ended: 100, what: "a human" }]);
  assert.deepEqual(shown(tree), ["a", " b", " …", " c"]);
  assert.equal(tree.indexOf(tree.nodes.get("c")!), 3);
});

test("Played again, a session shows what had begun by then", () => {
  const tree = new Tree();
  tree.take([row("a", null, 0), row("b", "a", 5), row("c", "a", 9)]);
  tree.setHorizon(6);
  assert.deepEqual(shown(tree), ["a", " b"]);
  tree.setHorizon(Infinity);
  assert.equal(tree.lines, 3);
});

test("However often rows change, the tree is the one that the last of each makes", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rows = random(120, seed);
    const whole = new Tree();
    whole.take(rows);
    const again = new Tree();
    again.setFilter((one) => one.name === "t1");
    for (const one of rows) {
      again.take([one]);
      again.take([{ ...one, status: "running", revision: ++revision }]);
      again.take([{ ...one, revision: ++revision }]);
    }
    again.setFilter(null);
    assert.deepEqual(shown(again), shown(whole), `seed ${seed}`);
    assert.deepEqual(again.root.sums, whole.root.sums);
    const lines = again.window(0, 1000);
    assert.equal(lines.length, again.lines);
    lines.forEach((line, at) => assert.equal(again.indexOf(line.node), at));
    assert.deepEqual(again.window(7, 5).map((one) => one.node.key), lines.slice(7, 12).map((one) => one.node.key));
  }
});

test("A row that arrives costs the same beside a hundred thousand others", () => {
  const tree = new Tree();
  tree.take([row("root", null, 0)]);
  for (let n = 1; n <= 100_000; n++) tree.take([row(`k${n}`, n % 10 ? `k${n - (n % 10)}` : "root", n, { name: `t${n % 7}` })]);
  let calls = 0;
  tree.setFilter(() => (calls++, true));
  calls = 0;
  tree.take([row("last", "root", 200_000)]);
  assert.equal(calls, 1);
});
