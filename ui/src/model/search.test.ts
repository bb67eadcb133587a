import assert from "node:assert/strict";
import { test } from "node:test";
import { filtersOf, queryOfText, stateOfQuery, textOfQuery } from "./search.ts";

test("What is typed is a query: names, states, a cost, tags, and text", () => {
  const query = queryOfText('agent:researcher status:failed cost>0.1 tag:vip tenant:acme error:KeyError "A-1042" late');
  assert.equal(
    query.toString(),
    "agent=researcher&status=ERROR&min_cost=0.1&tag=vip&tag=tenant%3Dacme&cause=KeyError&q=A-1042+late",
  );
});

test("A query is the text that asks for it", () => {
  const text = 'agent:"a b" user:ann status:gone tag:vip tenant:acme cost>0.1 error:KeyError tool:search "two words"';
  assert.equal(textOfQuery(queryOfText(text)), text);
  assert.equal(textOfQuery(new URLSearchParams("status=killed")), "status:killed");
  assert.equal(textOfQuery(new URLSearchParams()), "");
});

test("What names nothing is looked for as text, and an empty search is none", () => {
  assert.equal(queryOfText("status:odd cost>much http://x").get("q"), "status:odd cost>much http://x");
  assert.equal(queryOfText("   ").toString(), "");
});

test("A state is told from its statuses, in any order", () => {
  assert.equal(stateOfQuery(new URLSearchParams("status=lost&status=killed")), "gone");
  assert.equal(stateOfQuery(new URLSearchParams("status=lost")), null);
  assert.equal(filtersOf(new URLSearchParams("step=1&agent=a&tag=x&tag=y")).toString(), "agent=a&tag=x&tag=y");
});
