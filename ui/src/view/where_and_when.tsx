import type { TreeNode } from "../model/tree.ts";
import type { Row } from "../model/wire.ts";
import { clockMs, count, duration, money, seen } from "../model/words.ts";
import type { StepInFull } from "../state/detail.ts";
import type { Looking } from "../state/looking.ts";
import { Part } from "./part.tsx";

/** In what a step stands, when it was, which process did it, what it used. */
export function WhereAndWhen({ step, looking, node }: { step: StepInFull | null; looking: Looking; node: TreeNode }) {
  const row = node.row!;
  const { session } = looking;
  const began = session.about.value?.began_ms;
  const parent = session.tree.above(node).at(-1)?.row;
  const place = step?.attempts.at(-1)?.details["place"];
  const process = step?.process ?? null;
  const facts: [string, unknown, unknown?][] = [
    ["in", parent ? `${parent.name}` : null, typeof place === "object" && place !== null ? Object.entries(place).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ") : null],
    ["began", clockMs(row.began_ms), began === null || began === undefined ? null : `+ ${duration(row.began_ms - began)}`],
    ["ended", row.ended_ms === null ? null : clockMs(row.ended_ms), row.waited_ms > 0 ? `waited ${duration(row.waited_ms)}` : null],
    ["last seen", row.ended_ms === null && row.status !== "running" && row.seen_ms !== null ? clockMs(row.seen_ms) : null],
    ["process", process ? [process["service"] ?? process["service_name"] ?? process["host"], process["version"]].filter(Boolean).join(" ") : null, process ? [process["service"] || process["service_name"] ? process["host"] : null, process["pid"] ? `pid ${process["pid"]}` : null, process["code"]].filter(Boolean).join(" · ") : null],
    ["point", `${session.id}@${row.number}`],
    ["effects", step?.effects ?? null],
    ["tokens", usageWords(row, step), row.cost_usd === null ? (row.unpriced_calls ? "unpriced" : null) : money(row.cost_usd, row.unpriced_calls)],
    ["trace", step?.trace_id ?? null, step?.span_id ?? null],
  ];
  return (
    <Part title="Where and when">
      <dl>
        {facts.filter(([, value]) => value !== null && value !== "").map(([name, value, more]) => (
          <Fact key={name} name={name} value={seen(String(value))} more={more ? seen(String(more)) : ""} />
        ))}
      </dl>
      {row.attempts.length > 1 && (
        <dl>
          {row.attempts.map(([from, to, outcome], at) => (
            <Fact key={at} name={`attempt ${at + 1}`} value={outcome ?? "running"} more={to === null ? "" : duration(to - from)} />
          ))}
        </dl>
      )}
    </Part>
  );
}

function usageWords(row: Row, step: StepInFull | null): string | null {
  if (row.input_tokens === null && row.output_tokens === null) return null;
  const usage = step?.attempts.at(-1)?.usage;
  const more = [["cache_read_tokens", "from cache"], ["cache_write_tokens", "to cache"], ["reasoning_tokens", "thought"]] as const;
  return [`${count(row.input_tokens)} in`, `${count(row.output_tokens)} out`, ...more.map(([name, word]) => (usage?.[name] ? `${count(usage[name])} ${word}` : ""))].filter(Boolean).join(" · ");
}

function Fact({ name, value, more }: { name: string; value: string; more: string }) {
  return <><dt>{name}</dt><dd>{value} {more && <span class="mute">{more}</span>}</dd></>;
}
