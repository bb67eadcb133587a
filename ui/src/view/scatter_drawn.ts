// Draws the dots of a timeline. Colours are those that the names of its lanes have in the page.
import { dotOf, partsOf, tick } from "../model/scatter.ts";
import type { Lane, Lanes } from "../model/wire_dashboard.ts";

export const LANE = 21;
const EDGE = 5;

/** Draws lanes as they are, and what is marked of the time. */
export function draw(canvas: HTMLCanvasElement, names: HTMLElement, lanes: Lanes, rows: readonly Lane[], marked: readonly [number, number] | null): void {
  const box = canvas.getBoundingClientRect();
  const scale = devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(box.width * scale));
  canvas.height = Math.max(1, Math.round(box.height * scale));
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const parts = partsOf(lanes);
  const room = Math.max(1, box.width - 2 * EDGE);
  const xOf = (part: number) => EDGE + (part / parts) * room;
  if (marked) {
    context.fillStyle = style.outlineColor;
    context.globalAlpha = 0.18;
    const from = Math.min(...marked);
    context.fillRect(xOf(from), 0, Math.max(2, xOf(Math.max(...marked) + 1) - xOf(from)), rows.length * LANE);
    context.globalAlpha = 1;
  }
  rows.forEach((lane, place) => {
    const y = place * LANE + LANE / 2;
    context.fillStyle = style.borderTopColor;
    context.fillRect(EDGE, y - 0.25, room, 0.5);
    context.fillStyle = getComputedStyle(names.children[place]!, "::before").backgroundColor;
    const most = Math.max(...lane.points.map(([, count]) => count));
    for (const [part, count] of lane.points) {
      const { radius, opacity } = dotOf(count, most);
      context.globalAlpha = names.children[place]!.classList.contains("is-error") ? Math.max(0.85, opacity) : opacity;
      context.beginPath();
      context.arc(xOf(part + 0.5), y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  });
  drawAxis(context, style, lanes, box.width, rows.length * LANE + 14);
}

function drawAxis(context: CanvasRenderingContext2D, style: CSSStyleDeclaration, lanes: Lanes, width: number, y: number): void {
  context.fillStyle = style.color;
  context.font = `10px ${style.fontFamily}`;
  context.textAlign = "center";
  const span = Math.max(1, lanes.until_ms - lanes.from_ms);
  const step = tick(span, Math.max(2, Math.floor(width / 75)));
  const zone = new Date(lanes.from_ms).getTimezoneOffset() * 60_000;
  for (let at = Math.ceil((lanes.from_ms - zone) / step) * step + zone; at < lanes.until_ms; at += step) {
    const x = EDGE + ((at - lanes.from_ms) / span) * (width - 2 * EDGE);
    if (x > 16 && x < width - 34) context.fillText(words(at, step), x, y);
  }
  context.textAlign = "right";
  if (Date.now() - lanes.until_ms < 60_000) context.fillText("now", width - 2, y);
}

function words(at: number, step: number): string {
  const moment = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  if (step >= 864e5) return `${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  const minute = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  if (step >= 6e4) return minute;
  return step >= 1000 ? `${minute}:${two(moment.getSeconds())}` : `${two(moment.getSeconds())}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
}
