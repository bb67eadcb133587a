// The tree of a session's rows, and which of them stand on the screen.
//
// A row that arrives or changes costs what its depth costs, however many rows there are: each node knows how many lines
// it has on the screen, and tells its parent the difference. There is no list of visible rows; a window of it is read by
// descent. Nothing is moved by an ending: siblings stand in the order of their start.
import { isExceptional } from "./rows.ts";
import type { Wait } from "./tree_node.ts";
import { addSums, difference, mergeSums, negative, sumsOf, TreeNode } from "./tree_node.ts";
import type { Row } from "./wire.ts";

export type { Wait } from "./tree_node.ts";
export { TreeNode } from "./tree_node.ts";

/** So many siblings in a row of one kind and name stand in one fold. */
export const FOLD_FROM = 5;

/** Deeper rows stand beside their parent: no page is that wide, and no stack that high. */
const DEEPEST = 200;

/** One line of the screen. */
export interface Line {
  readonly node: TreeNode;
  /** The line above a row that says how long nobody worked, rather than the row. */
  readonly wait: Wait | null;
}

export type Taken = (row: Row) => boolean;

export class Tree {
  readonly root = new TreeNode("", null);
  readonly nodes = new Map<string, TreeNode>();
  /** Nodes in the order of their start. */
  readonly order: TreeNode[] = [];
  /** Nodes that run, and those that came or changed since somebody emptied this. */
  readonly running = new Set<TreeNode>();
  readonly touched = new Set<TreeNode>();
  /** How many rows were taken out. */
  dropped = 0;
  private readonly folds = new Map<string, TreeNode>();
  private readonly byStep = new Map<string, TreeNode>();
  private filter: Taken | null = null;
  private horizon = Infinity;
  private readonly homeless = new Map<string, TreeNode[]>();
  private readonly held = new Set<TreeNode>();

  /** Takes rows that are new or changed; older ones than those it has do no harm. Returns how many are new. */
  take(rows: Iterable<Row>): number {
    const before = this.nodes.size;
    for (const row of rows) this.takeOne(row);
    return this.nodes.size - before;
  }

  private takeOne(row: Row): void {
    const known = this.nodes.get(row.key);
    if (known) {
      if (row.revision <= known.row!.revision) return;
      this.change(known, row);
    } else this.add(row);
    const node = this.nodes.get(row.key)!;
    this.touched.add(node);
    if (row.status === "running") this.running.add(node);
    else this.running.delete(node);
  }

  /** Has the next rows hold, whatever their revision. */
  forgetRevisions(): void {
    for (const node of this.order) node.row = { ...node.row!, revision: -1 };
  }

  /** Takes out a row that is no more; what stood below it waits at the top for its new place. */
  drop(key: string): Row | null {
    const node = this.nodes.get(key);
    if (!node) return null;
    const below = node.children.flatMap((child) => (child.isFold ? child.children : [child]));
    this.nodes.delete(key);
    this.byStep.delete(node.row!.step_id);
    this.running.delete(node);
    this.touched.delete(node);
    this.order.splice(this.order.indexOf(node), 1);
    for (const child of below) {
      this.leave(child);
      this.settle(child, this.placeOf(child.row!));
    }
    this.leave(node);
    this.dropped++;
    return node.row;
  }

  private add(row: Row): void {
    const node = new TreeNode(row.key, row);
    this.nodes.set(row.key, node);
    this.byStep.set(row.step_id, node);
    insertByStart(this.order, node);
    node.taken = this.takes(row);
    this.settle(node, this.placeOf(row));
    const waiting = this.homeless.get(row.key);
    if (!waiting) return;
    this.homeless.delete(row.key);
    for (const child of waiting) {
      if (isWithin(node, child)) continue; // a circle: stays at the top
      this.leave(child);
      this.settle(child, node);
    }
  }

  /** Where a row belongs; at the top, until its parent comes, what came before it. */
  private placeOf(row: Row): TreeNode {
    if (row.parent === null) return this.root;
    let parent = this.nodes.get(row.parent);
    if (parent) {
      if (isWithin(parent, this.nodes.get(row.key)!)) return this.root;
      while (parent.depth >= DEEPEST) parent = parent.parent!;
      return parent;
    }
    const waiting = this.homeless.get(row.parent);
    if (waiting) waiting.push(this.nodes.get(row.key)!);
    else this.homeless.set(row.parent, [this.nodes.get(row.key)!]);
    return this.root;
  }

  private change(node: TreeNode, row: Row): void {
    const old = node.row!;
    const moved = old.parent !== row.parent;
    if (moved) this.leave(node);
    addSums(node.parent ?? null, node, difference(old, row));
    node.row = row;
    if (moved) this.settle(node, this.placeOf(row));
    this.retake(node);
    this.recount(node);
  }

  private settle(node: TreeNode, parent: TreeNode): void {
    const own = node.sums.rows ? node.sums : sumsOf(node.row!);
    if (!node.sums.rows) node.sums = { ...own };
    this.nest(node, parent);
    addSums(node.parent, null, own);
    this.addTaken(node.parent, node.takenBelow + (node.taken ? 1 : 0));
    this.recount(node);
  }

  /** Puts a node among its siblings, in a fold where there are enough like it. */
  private nest(node: TreeNode, parent: TreeNode): void {
    const { children } = parent;
    const last = children.at(-1);
    if (last && startOf(last) > node.row!.began_ms) {
      insertByStart(children, node); // came late: stands where it began, folds stay as they are
      this.adopt(node, parent);
      return;
    }
    if (last?.isFold && alike(last.first, node.row!)) {
      last.children.push(node);
      this.adopt(node, last);
      return;
    }
    children.push(node);
    this.adopt(node, parent);
    if (children.length < FOLD_FROM) return;
    const run = children.slice(-FOLD_FROM);
    if (run.every((one) => one.row !== null && alike(one.row, node.row!))) this.fold(parent, run);
  }

  private fold(parent: TreeNode, run: TreeNode[]): void {
    const fold = new TreeNode(`fold:${run[0]!.key}`, null);
    fold.open = false;
    this.folds.set(fold.key, fold);
    parent.children.splice(-run.length, run.length, fold);
    fold.parent = parent;
    fold.depth = parent.depth + 1;
    const fresh = run.at(-1)!;
    for (const one of run) {
      parent.inner -= one.counted;
      one.counted = 0;
      fold.children.push(one);
      this.adopt(one, fold);
      if (one === fresh) continue; // is added by who settles it
      mergeSums(fold.sums, one.sums);
      fold.takenBelow += one.takenBelow + (one.taken ? 1 : 0);
    }
    for (const one of run) this.recount(one);
    this.recount(fold);
  }

  private adopt(node: TreeNode, parent: TreeNode): void {
    node.parent = parent;
    const depth = parent.depth + 1;
    if (node.depth === depth) return;
    node.depth = depth;
    for (const child of node.children) this.adopt(child, node);
  }

  private leave(node: TreeNode): void {
    const parent = node.parent!;
    parent.children.splice(parent.children.indexOf(node), 1);
    parent.inner -= node.counted;
    node.counted = 0;
    addSums(parent, null, negative(node.sums));
    this.addTaken(parent, -(node.takenBelow + (node.taken ? 1 : 0)));
    node.parent = null;
    if (parent.isFold && parent.children.length === 0) {
      this.folds.delete(parent.key);
      this.leave(parent);
    }
    else this.recount(parent);
  }

  // --- what is on the screen -------------------------------------------------------------------------------------

  private takes(row: Row): boolean {
    return this.filter === null || this.filter(row);
  }

  private retake(node: TreeNode): void {
    const taken = this.takes(node.row!);
    if (taken === node.taken) return;
    node.taken = taken;
    this.addTaken(node.parent, taken ? 1 : -1);
  }

  private addTaken(from: TreeNode | null, n: number): void {
    if (n === 0) return;
    for (let node = from; node; node = node.parent) {
      node.takenBelow += n;
      if (this.filter) this.recount(node);
    }
  }

  /** Whether a node shows all of its children. A filter opens what has something taken below it. */
  isOpen(node: TreeNode): boolean {
    return node.open || (this.filter !== null && node.takenBelow > 0 && !node.isFold);
  }

  private linesOf(node: TreeNode): number {
    const { row, parent } = node;
    if (row ? row.began_ms > this.horizon : startOf(node) > this.horizon) return 0;
    if (this.filter !== null && !node.taken && node.takenBelow === 0) return 0;
    if (this.filter !== null && node.isFold && node.takenBelow === 0) return 0;
    if (parent && parent !== this.root && !this.isOpen(parent)) {
      const seen = parent.isFold && row !== null && (isExceptional(row) || node.sums.errors > 0 || this.held.has(node));
      if (!seen) return 0;
    }
    return 1 + (node.wait && this.filter === null ? 1 : 0) + node.inner;
  }

  private recount(from: TreeNode): void {
    for (let node: TreeNode | null = from; node?.parent; node = node.parent) {
      const lines = this.linesOf(node);
      const delta = lines - node.counted;
      if (delta === 0) return;
      node.counted = lines;
      node.parent.inner += delta;
    }
  }

  private recountAll(node: TreeNode): void {
    node.inner = 0;
    for (const child of node.children) {
      this.recountAll(child);
      child.counted = this.linesOf(child);
      node.inner += child.counted;
    }
  }

  /** How many lines there are. */
  get lines(): number {
    return this.root.inner;
  }

  /** The lines from one on, at most so many. */
  window(from: number, size: number): Line[] {
    const lines: Line[] = [];
    this.collect(this.root, Math.max(0, from), size, lines);
    return lines;
  }

  private collect(node: TreeNode, skip: number, size: number, lines: Line[]): number {
    for (const child of node.children) {
      if (lines.length >= size) return 0;
      if (skip >= child.counted) {
        skip -= child.counted;
        continue;
      }
      if (child.wait && this.filter === null) {
        if (skip > 0) skip--;
        else lines.push({ node: child, wait: child.wait });
      }
      if (skip > 0) skip--;
      else if (lines.length < size) lines.push({ node: child, wait: null });
      skip = this.collect(child, skip, size, lines);
    }
    return skip;
  }

  /** The line that a node stands in, -1 where it is not on the screen. */
  indexOf(node: TreeNode): number {
    if (node.counted === 0) return -1;
    let index = node.wait && this.filter === null ? 1 : 0;
    for (let one = node; one.parent; one = one.parent) {
      for (const sibling of one.parent.children) {
        if (sibling === one) break;
        index += sibling.counted;
      }
      if (one.parent === this.root) return index;
      if (one.parent.counted === 0) return -1;
      index += 1 + (one.parent.wait && this.filter === null ? 1 : 0);
    }
    return index;
  }

  // --- what a person changes -------------------------------------------------------------------------------------

  setOpen(node: TreeNode, open: boolean): void {
    node.open = open;
    this.recountChildren(node);
  }

  private recountChildren(node: TreeNode): void {
    let inner = 0;
    for (const child of node.children) {
      child.counted = this.linesOf(child);
      inner += child.counted;
    }
    node.inner = inner;
    this.recount(node);
  }

  setAllOpen(open: boolean): void {
    for (const node of this.order) node.open = open || node.depth === 0;
    this.recountAll(this.root);
  }

  /** Has a node on the screen: what it stands in is opened, and folds let it out. */
  reveal(node: TreeNode): void {
    const path: TreeNode[] = [];
    for (let one = node.parent; one && one !== this.root; one = one.parent) path.push(one);
    for (const one of path.reverse()) {
      if (one.isFold) this.held.add(node.parent === one ? node : path[path.indexOf(one) + 1]!);
      else one.open = true;
      this.recountChildren(one);
    }
    this.recount(node);
  }

  setFilter(filter: Taken | null): void {
    this.filter = filter;
    this.retakeAll(this.root);
    this.recountAll(this.root);
  }

  private retakeAll(node: TreeNode): number {
    node.taken = node.row ? this.takes(node.row) : false;
    node.takenBelow = 0;
    for (const child of node.children) node.takenBelow += this.retakeAll(child);
    return node.takenBelow + (node.taken ? 1 : 0);
  }

  get filtered(): boolean {
    return this.filter !== null;
  }

  /** Shows the session as it was at a time: what began later is not there. */
  setHorizon(at: number): void {
    if (at === this.horizon) return;
    this.horizon = at;
    this.recountAll(this.root);
  }

  /** Puts each wait above the first step that began after it. */
  setWaits(waits: Iterable<Wait>): void {
    for (const node of this.order) node.wait = null;
    let at = 0;
    for (const wait of waits) {
      while (at < this.order.length && this.order[at]!.row!.began_ms < wait.ended - 0.5) at++;
      const node = this.order[at];
      if (node) node.wait = wait;
    }
    this.recountAll(this.root);
  }

  // --- going about -------------------------------------------------------------------------------------------------

  /** The next or last step for which something holds, in the order of their start. */
  near(from: TreeNode | null, step: 1 | -1, wanted: (row: Row) => boolean): TreeNode | null {
    const { order } = this;
    let at = from?.row ? order.indexOf(from) : step > 0 ? -1 : order.length;
    for (let n = 0; n < order.length; n++) {
      at = (at + step + order.length) % order.length;
      const node = order[at]!;
      if (wanted(node.row!) && node.row!.began_ms <= this.horizon) return node;
    }
    return null;
  }

  /** A node, folds among them, by its key. */
  nodeOf(key: string): TreeNode | null {
    return this.nodes.get(key) ?? this.folds.get(key) ?? null;
  }

  /** A step by its id, or its number. */
  find(step: string): TreeNode | null {
    const known = this.byStep.get(step) ?? this.nodes.get(step);
    if (known || !/^\d+$/.test(step)) return known ?? null;
    const number = Number(step);
    return this.order.find((node) => node.row!.number === number) ?? null;
  }

  /** The steps that one is in, the outermost first; folds are none. */
  above(node: TreeNode): TreeNode[] {
    const found: TreeNode[] = [];
    for (let one = node.parent; one && one !== this.root; one = one.parent) if (one.row) found.push(one);
    return found.reverse();
  }
}

function alike(a: Row, b: Row): boolean {
  return a.kind === b.kind && a.name === b.name;
}

function isWithin(node: TreeNode, other: TreeNode): boolean {
  for (let one: TreeNode | null = node; one; one = one.parent) if (one === other) return true;
  return false;
}

function startOf(node: TreeNode): number {
  return node.first.began_ms;
}

function insertByStart(list: TreeNode[], node: TreeNode): void {
  let at = list.length;
  const began = node.row!.began_ms;
  while (at > 0 && startOf(list[at - 1]!) > began) at--;
  if (at === list.length) list.push(node);
  else list.splice(at, 0, node);
}
