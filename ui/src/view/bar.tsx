import type { Axis } from "../model/axis.ts";
import { endOf, isShell, stateOf, tokensOf, workedOf } from "../model/rows.ts";
import type { TreeNode } from "../model/tree.ts";
import type { Row } from "../model/wire.ts";
import { clock, count, duration, money } from "../model/words.ts";
import type { Basis } from "../state/looking.ts";

/** What all bars are drawn by. */
export interface BarsShown {
  readonly axis: Axis;
  readonly basis: Basis;
  readonly now: number;
  /** The moment that is played; Infinity where nothing is. */
  readonly playedAt: number;
  /** The largest value, where bars are not times. */
  readonly most: number;
  readonly critical: ReadonlySet<string>;
  readonly filtered: boolean;
  /** How wide the column of bars is, in pixels. */
  readonly width: number;
}

interface Piece {
  readonly from: number;
  readonly to: number;
  readonly classes: string;
}

const percent = (place: number) => `${(place * 100).toFixed(3)}%`;

/** The bar of a line: a piece for each attempt, or one of the length of its tokens or cost. */
export function Bar({ node, bars }: { node: TreeNode; bars: BarsShown }) {
  if (bars.basis !== "time") return <AmountBar node={node} bars={bars} />;
  const pieces = node.row ? piecesOf(node.row, bars) : foldPieces(node, bars);
  const last = pieces.at(-1);
  if (!last || last.to < 0 || pieces[0]!.from > 1) return null;
  return (
    <>
      {pieces.map((one, at) => (
        <i key={at} class={one.classes} style={{ left: percent(Math.max(-0.01, one.from)), width: percent(Math.min(1.01, one.to) - Math.max(-0.01, one.from)) }} />
      ))}
      <Label text={labelOf(node, bars)} from={pieces[0]!.from} to={last.to} width={bars.width} />
    </>
  );
}

const LETTER = 6.7; // pixels of a figure of the label, and what stands around it
const AROUND = 12;

/** Behind its bar where there is room, otherwise before it, otherwise over its end. */
function Label({ text, from, to, width }: { text: string; from: number; to: number; width: number }) {
  const needs = (text.length * LETTER + AROUND) / width;
  if (to + needs <= 1) return <em style={{ left: percent(Math.max(0, to)) }}>{text}</em>;
  if (from >= needs) return <em style={{ right: percent(1 - from) }}>{text}</em>;
  return <em class="over" style={{ right: "0" }}>{text}</em>;
}

function piecesOf(row: Row, bars: BarsShown): Piece[] {
  const { axis, now, playedAt } = bars;
  const state = stateOf(row, playedAt);
  const base = `${isShell(row) ? "shell" : ""}${bars.critical.has(row.key) ? " critical" : ""}`;
  const upTo = Math.min(now, playedAt);
  const end = Math.min(endOf(row, upTo), playedAt);
  const attempts = row.attempts.length > 1 ? row.attempts : [[row.began_ms, row.ended_ms, null] as const];
  const pieces = attempts.flatMap(([began, ended, outcome], at): Piece[] => {
    if (began > playedAt) return [];
    const final = at === attempts.length - 1;
    const how = final ? state : outcome === "error" ? "error" : (outcome ?? "ok");
    const classes = how === "running" ? "running" : how === "ok" ? "" : `ended-${how}`;
    return [{ from: axis.at(began), to: axis.at(Math.min(ended ?? end, playedAt)), classes: `${base} ${classes}` }];
  });
  if (state === "lost" && pieces.length) pieces.push({ from: axis.at(end), to: Math.min(1, axis.at(end) + 0.06), classes: "beyond" });
  return pieces;
}

function foldPieces(node: TreeNode, bars: BarsShown): Piece[] {
  const last = node.children.at(-1)!.row!;
  const to = Math.min(endOf(last, bars.now), bars.playedAt);
  return [{ from: bars.axis.at(node.first.began_ms), to: bars.axis.at(to), classes: node.sums.running ? "running" : "" }];
}

function labelOf(node: TreeNode, { now, playedAt }: BarsShown): string {
  const { row } = node;
  if (!row) return duration(endOf(node.children.at(-1)!.row!, now) - node.first.began_ms);
  const state = stateOf(row, playedAt);
  if (state === "killed" || state === "lost") return `${state}${row.seen_ms === null ? "" : ` · last seen ${clock(row.seen_ms)}`}`;
  if (state === "awaiting") return "awaiting input";
  const took = duration(state === "running" ? workedOf({ ...row, status: "running" }, Math.min(now, playedAt)) : workedOf(row, now));
  return state === "cancelled" ? `cancelled · ${took}` : took;
}

function AmountBar({ node, bars }: { node: TreeNode; bars: BarsShown }) {
  const value = amountOf(node, bars.basis);
  if (value === null) return null;
  const width = bars.most > 0 ? value / bars.most : 0;
  const shell = !node.row || isShell(node.row);
  return (
    <>
      <i class={shell ? "shell" : ""} style={{ left: "0", width: percent(width * 0.88) }} />
      <em style={{ left: percent(width * 0.88) }}>{bars.basis === "tokens" ? count(value) : money(value)}</em>
    </>
  );
}

/** Tokens or cost of a line, with what is below a shell; null where it is not known. */
export function amountOf(node: TreeNode, basis: Basis): number | null {
  if (node.row && !isShell(node.row) && node.children.length === 0) return basis === "tokens" ? tokensOf(node.row) : node.row.cost_usd;
  return basis === "tokens" ? node.sums.tokens : node.sums.cost;
}
