// A node of the tree: a row or a fold of rows alike, how much of the screen it takes, and the sums of what is below it.
import { tokensOf } from "./rows.ts";
import type { Row } from "./wire.ts";

export interface Wait {
  readonly began: number;
  readonly ended: number;
  readonly what: string;
}

/** What stands below a node, itself included. */
export interface Sums {
  rows: number;
  errors: number;
  warnings: number;
  running: number;
  tokens: number | null;
  cost: number | null;
  unpriced: number;
}

export class TreeNode {
  readonly key: string;
  /** Null of a fold, and of the root. */
  row: Row | null;
  parent: TreeNode | null = null;
  children: TreeNode[] = [];
  /** How deep it stands; of the root -1. */
  depth = -1;
  open = true;
  /** Whether the filter takes the row, and how many it takes below. */
  taken = true;
  takenBelow = 0;
  /** Its lines on the screen as its parent counts them, and those of its children. */
  counted = 0;
  inner = 0;
  wait: Wait | null = null;
  sums: Sums = { rows: 0, errors: 0, warnings: 0, running: 0, tokens: null, cost: null, unpriced: 0 };

  constructor(key: string, row: Row | null) {
    this.key = key;
    this.row = row;
  }

  get isFold(): boolean {
    return this.row === null && this.parent !== null;
  }

  /** The row, or of a fold that of its first member. */
  get first(): Row {
    return this.row ?? this.children[0]!.row!;
  }
}

export function sumsOf(row: Row): Sums {
  return {
    rows: 1,
    errors: row.errors,
    warnings: row.warnings,
    running: row.status === "running" ? 1 : 0,
    tokens: tokensOf(row),
    cost: row.cost_usd,
    unpriced: row.unpriced_calls,
  };
}

function plus(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : a + b;
}

export function negative(sums: Sums): Sums {
  return {
    rows: -sums.rows,
    errors: -sums.errors,
    warnings: -sums.warnings,
    running: -sums.running,
    tokens: sums.tokens === null ? null : -sums.tokens,
    cost: sums.cost === null ? null : -sums.cost,
    unpriced: -sums.unpriced,
  };
}

export function mergeSums(into: Sums, more: Sums): void {
  into.rows += more.rows;
  into.errors += more.errors;
  into.warnings += more.warnings;
  into.running += more.running;
  into.tokens = plus(into.tokens, more.tokens);
  into.cost = plus(into.cost, more.cost);
  into.unpriced += more.unpriced;
}

export function difference(old: Row, row: Row): Sums {
  const sums = sumsOf(row);
  mergeSums(sums, negative(sumsOf(old)));
  return sums;
}

/** Adds to a node and to all above it. */
export function addSums(above: TreeNode | null, node: TreeNode | null, more: Sums): void {
  if (node) mergeSums(node.sums, more);
  for (let one = above; one; one = one.parent) mergeSums(one.sums, more);
}
