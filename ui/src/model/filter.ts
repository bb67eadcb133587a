// Which rows a filter takes: the pills, and what is typed into the search box.
import type { State } from "./rows.ts";
import { stateOf } from "./rows.ts";
import type { Taken } from "./tree.ts";
import type { Row } from "./wire.ts";

export const PILLS = ["errors", "models", "tools", "retrievals", "critical", "slow"] as const;
export type Pill = (typeof PILLS)[number];
export const SLOW_MS = 1000;

const OF_PILL: Readonly<Record<Pill, (row: Row, critical: ReadonlySet<string>) => boolean>> = {
  errors: (row) => row.errors > 0, // where they began; those above it only pass them on
  models: (row) => row.kind === "MODEL",
  tools: (row) => row.kind === "TOOL",
  retrievals: (row) => row.kind === "RETRIEVAL",
  critical: (row, critical) => critical.has(row.key),
  slow: (row) => !SHELLS.has(row.kind) && (row.worked_ms ?? 0) >= SLOW_MS,
};
const SHELLS = new Set(["AGENT", "NODE"]);

export function isPill(text: string | null): text is Pill {
  return PILLS.includes(text as Pill);
}

export function taken(pill: Pill, row: Row, critical: ReadonlySet<string>): boolean {
  return OF_PILL[pill](row, critical);
}

/**
 * What is typed: words that a row must hold, `kind:tool`, `status:error`, `name:search`, `#14`, `>1s`. All must hold.
 * Null where nothing is typed.
 */
export function searchOf(typed: string): Taken | null {
  const parts = typed.match(/"[^"]*"|\S+/g) ?? [];
  const tests = parts.map(testOf).filter((one) => one !== null);
  return tests.length ? (row) => tests.every((one) => one(row)) : null;
}

function testOf(part: string): Taken | null {
  const named = /^(kind|status|name):(.+)$/i.exec(part);
  if (named) {
    const wanted = named[2]!.toLowerCase();
    if (named[1] === "kind") return (row) => row.kind.toLowerCase() === wanted;
    if (named[1] === "name") return (row) => row.name.toLowerCase().includes(wanted);
    return (row) => stateOf(row) === (wanted as State) || row.status === wanted;
  }
  const number = /^#(\d+)$/.exec(part);
  if (number) return (row) => row.number === Number(number[1]);
  const longer = /^>=?([\d.]+)(ms|s|m)?$/i.exec(part);
  if (longer) {
    const least = Number(longer[1]) * { ms: 1, s: 1000, m: 60_000 }[(longer[2]?.toLowerCase() ?? "s") as "s"];
    return (row) => (row.worked_ms ?? 0) >= least;
  }
  const text = part.replaceAll('"', "").toLowerCase();
  if (!text) return null;
  return (row) =>
    row.name.toLowerCase().includes(text) ||
    row.given.toLowerCase().includes(text) ||
    row.gave.toLowerCase().includes(text) ||
    (row.error ?? "").toLowerCase().includes(text) ||
    row.tail.toLowerCase().includes(text);
}

/** Pill and search together; null takes all. */
export function filterOf(pill: Pill | null, typed: string, critical: ReadonlySet<string>): Taken | null {
  const search = searchOf(typed);
  if (!pill) return search;
  return (row) => taken(pill, row, critical) && (search === null || search(row));
}

/** How many rows each pill takes, kept up as rows come: a row that changes costs what it itself costs. */
export class Counts {
  readonly of: Record<Pill, number> = { errors: 0, models: 0, tools: 0, retrievals: 0, critical: 0, slow: 0 };
  all = 0;
  private critical: ReadonlySet<string> = new Set();

  take(old: Row | null, row: Row): void {
    if (!old) this.all++;
    for (const pill of PILLS) {
      this.of[pill] += Number(taken(pill, row, this.critical)) - Number(old !== null && taken(pill, old, this.critical));
    }
  }

  drop(row: Row): void {
    this.all--;
    for (const pill of PILLS) this.of[pill] -= Number(taken(pill, row, this.critical));
  }

  setCritical(keys: readonly string[]): void {
    this.critical = new Set(keys);
    this.of.critical = this.critical.size;
  }
}
