// Two sessions on one column: which rows are shown, which are folded, and what they say.
import type { Comparison, SideStep, StepPair } from "./wire_compare.ts";
import { count, duration } from "./words.ts";

const LEAST_FOLDED = 3;

/** A row: a pair, or a fold of pairs that are the same. */
export type CompareRow =
  | { readonly kind: "pair"; readonly at: number; readonly pair: StepPair }
  | { readonly kind: "fold"; readonly at: number; readonly pairs: number; readonly open: boolean };

/** The rows to show: what is the same is folded where much of it stands together, unless the reader opened it. */
export function rowsOf(comparison: Comparison, open: ReadonlySet<number>): CompareRow[] {
  const rows: CompareRow[] = [];
  const { pairs } = comparison;
  for (let at = 0; at < pairs.length; ) {
    let end = at;
    while (end < pairs.length && pairs[end]!.state === "same") end++;
    const same = end - at;
    if (same >= LEAST_FOLDED) {
      rows.push({ kind: "fold", at, pairs: same, open: open.has(at) });
      if (open.has(at)) for (let one = at; one < end; one++) rows.push({ kind: "pair", at: one, pair: pairs[one]! });
      at = end;
    } else {
      rows.push({ kind: "pair", at, pair: pairs[at]! });
      at++;
    }
  }
  return rows;
}

export const MARKS: Readonly<Record<string, readonly [sign: string, words: string]>> = {
  same: ["=", "the same"],
  changed: ["≈", "changed"],
  only_a: ["−", "in A alone"],
  only_b: ["+", "in B alone"],
};

/** What a pair differs in, in a few words: `messages, ok → error, 1.2 s → 4.0 s`. */
export function differenceWords(pair: StepPair): string {
  const { a, b } = pair;
  if (!a || !b) return "";
  const said = pair.differs.map((name) => {
    if (name === "status") return `${a.status} → ${b.status}`;
    if (name === "model" || name === "name") return `${a.name} → ${b.name}`;
    if (name === "usage") return `${tokens(a)} → ${tokens(b)} tokens`;
    if (name === "attempts") return `${a.attempts} → ${b.attempts} attempts`;
    return name;
  });
  if (a.worked_ms !== null && b.worked_ms !== null) {
    const [less, more] = a.worked_ms < b.worked_ms ? [a.worked_ms, b.worked_ms] : [b.worked_ms, a.worked_ms];
    if (more - less >= Math.max(100, less / 2)) said.push(`${duration(a.worked_ms)} → ${duration(b.worked_ms)}`);
  }
  return said.join(", ");
}

function tokens(step: SideStep): string {
  return step.input_tokens === null && step.output_tokens === null ? "—" : count((step.input_tokens ?? 0) + (step.output_tokens ?? 0));
}

/** Everything that a field says on both sides, side by side: `[name, in A, in B, whether they differ]`. */
export function fieldsOf(pair: StepPair): readonly (readonly [string, string, string, boolean])[] {
  const of = (said: (step: SideStep) => string) => [pair.a ? said(pair.a) : "—", pair.b ? said(pair.b) : "—"] as const;
  const fields: readonly (readonly [string, readonly [string, string]])[] = [
    ["number", of((step) => String(step.number))],
    ["name", of((step) => step.name)],
    ["state", of((step) => step.status)],
    ["attempts", of((step) => String(step.attempts))],
    ["worked at", of((step) => duration(step.worked_ms))],
    ["tokens", of(tokens)],
    ["error", of((step) => step.error ?? "—")],
  ];
  return fields.map(([name, [a, b]]) => [name, a, b, a !== b && name !== "number" && name !== "worked at"] as const);
}

/** A value as it is shown: text as it is, anything else as JSON. */
export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** Two texts cut at what they have in common: what stands before, what each has, what stands behind. */
export function apart(a: string, b: string): readonly [before: string, inA: string, inB: string, behind: string] {
  let from = 0;
  while (from < a.length && from < b.length && a[from] === b[from]) from++;
  let behind = 0;
  while (behind < Math.min(a.length, b.length) - from && a[a.length - 1 - behind] === b[b.length - 1 - behind]) behind++;
  return [a.slice(0, from), a.slice(from, a.length - behind), b.slice(from, b.length - behind), a.slice(a.length - behind)];
}
