import assert from "node:assert/strict";
import { test } from "node:test";
import { Counts, filterOf, searchOf } from "./filter.ts";
import type { Row } from "./wire.ts";

const row = (more: Partial<Row>): Row => ({ key: "k", kind: "TOOL", name: "fetch_page", status: "ok", reason: null, number: 14, errors: 0, worked_ms: 1800, given: "example.org", gave: "14 KB", error: null, tail: "", ...more }) as Row;
const none = new Set<string>();

test("Words must all be there, whatever their case, wherever they stand", () => {
  assert.ok(searchOf("FETCH 14")!(row({})));
  assert.ok(searchOf('"14 kb"')!(row({})));
  assert.ok(!searchOf("fetch missing")!(row({})));
  assert.equal(searchOf("  "), null);
});

test("Kind, status, name, number and length can be asked for", () => {
  for (const typed of ["kind:tool", "status:ok", "name:page", "#14", ">1s", ">1500ms"]) assert.ok(searchOf(typed)!(row({})), typed);
  for (const typed of ["kind:model", "status:error", "name:x", "#15", ">2s"]) assert.ok(!searchOf(typed)!(row({})), typed);
  assert.ok(searchOf("status:killed")!(row({ status: "interrupted", reason: "killed" })));
});

test("A pill and a search both hold", () => {
  assert.ok(!filterOf("errors", "fetch", none)!(row({})));
  assert.ok(filterOf("errors", "fetch", none)!(row({ errors: 1 })));
  assert.ok(filterOf("critical", "", new Set(["k"]))!(row({})));
  assert.equal(filterOf(null, "", none), null);
});

test("The counts of the pills follow each change of a row", () => {
  const counts = new Counts();
  const first = row({ worked_ms: 0 });
  counts.take(null, first);
  counts.take(first, row({ errors: 1 }));
  assert.deepEqual([counts.all, counts.of.tools, counts.of.errors, counts.of.slow], [1, 1, 1, 1]);
  counts.drop(row({ errors: 1 }));
  assert.deepEqual([counts.all, counts.of.tools, counts.of.errors, counts.of.slow], [0, 0, 0, 0]);
});
