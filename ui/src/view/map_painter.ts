// Paints the strip of the whole session. What came or changed is painted over what stands; all of it only when the scale,
// the size or the colours change, so a row that arrives costs one rectangle.
import type { Axis } from "../model/axis.ts";
import { endOf, isShell, stateOf } from "../model/rows.ts";
import type { TreeNode } from "../model/tree.ts";
import type { Session } from "../state/session.ts";

const LANES = 6;
const LANE = 5;
const KINDS = ["agent", "node", "model", "tool", "retrieval", "step", "error", "warn"] as const;

export class MapPainter {
  private readonly session: Session;
  private canvas: HTMLCanvasElement | null = null;
  private colours: Record<string, string> = {};
  private scale = "";
  private axis: Axis | null = null;
  private now = 0;
  private lastX: number[] = [];

  constructor(session: Session) {
    this.session = session;
  }

  attach(canvas: HTMLCanvasElement): void {
    this.canvas = canvas;
    this.recolour();
  }

  resize(): void {
    this.scale = "";
    if (this.axis) this.paint(this.axis, this.now);
  }

  recolour(): void {
    if (!this.canvas) return;
    const probe = document.createElement("span");
    this.canvas.parentElement!.append(probe);
    for (const one of KINDS) {
      probe.style.color = `var(--${one})`;
      this.colours[one] = getComputedStyle(probe).color;
      probe.style.color = `color-mix(in srgb, var(--${one}) 55%, var(--bg-2))`; // opaque: is painted over itself
      this.colours[`shell-${one}`] = getComputedStyle(probe).color;
    }
    probe.remove();
    this.resize();
  }

  paint(axis: Axis, now: number): void {
    this.axis = axis;
    this.now = now;
    const canvas = this.canvas;
    if (!canvas || !canvas.clientWidth) return;
    const pixels = devicePixelRatio || 1;
    const scale = [axis.msAt(0), axis.msAt(1), axis.gaps.length, canvas.clientWidth, canvas.clientHeight, pixels, this.session.tree.dropped].join();
    const context = canvas.getContext("2d")!;
    const { tree } = this.session;
    if (scale !== this.scale) {
      this.scale = scale;
      canvas.width = canvas.clientWidth * pixels;
      canvas.height = canvas.clientHeight * pixels;
      context.scale(pixels, pixels);
      this.lastX = [];
      for (const node of tree.order) this.bar(context, node, true);
    } else {
      for (const node of tree.touched) this.bar(context, node, false);
      for (const node of tree.running) this.bar(context, node, false);
    }
    tree.touched.clear();
  }

  private bar(context: CanvasRenderingContext2D, node: TreeNode, thin: boolean): void {
    const row = node.row!;
    const state = stateOf(row);
    const plain = state === "ok" || state === "running";
    const width = this.canvas!.clientWidth;
    const x = this.axis!.at(row.began_ms) * width;
    const long = Math.max(1, this.axis!.at(endOf(row, this.now)) * width - x);
    const lane = Math.min(LANES - 1, Math.max(0, node.depth));
    // Painting everything: what would stand on the very pixel that was painted last is left out.
    if (thin && plain && long <= 1 && this.lastX[lane] === Math.floor(x)) return;
    this.lastX[lane] = Math.floor(x);
    const failed = state === "error" && row.errors > 0;
    const colour = failed ? "error" : plain || state === "cancelled" || isShell(row) ? row.kind.toLowerCase() : state === "error" ? row.kind.toLowerCase() : "warn";
    context.fillStyle = this.colours[isShell(row) ? `shell-${colour}` : colour] ?? this.colours["step"]!;
    context.fillRect(x, 4 + lane * LANE, long, LANE - 1);
  }
}
