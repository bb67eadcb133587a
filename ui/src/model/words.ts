// Numbers, times and states in the words that a page shows. What is not known is «—», never 0.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** 340 ms · 8.8 s · 38 s · 2:14 · 1 h 04 · 3 d 2 h */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "—";
  if (ms < 1) return ms <= 0 ? "0 ms" : "<1 ms";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 59_500) return `${Math.round(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  if (ms < HOUR) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const minutes = Math.floor(ms / MINUTE);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A moment of an axis, as fine as the step from tick to tick: 0 s · 40 s · 1:20 · 2:05:40 · 2 h 05 */
export function tick(ms: number, step: number): string {
  if (ms <= 0) return "0 s";
  if (step < 1000) return ms < MINUTE ? `${(ms / 1000).toFixed(step < 100 ? (step < 10 ? 3 : 2) : 1)} s` : `${tick(Math.floor(ms / 1000) * 1000, 1000)}.${String(Math.floor(ms % 1000)).padStart(3, "0")}`;
  if (step >= MINUTE || ms < HOUR) return duration(ms);
  const seconds = Math.round(ms / 1000);
  return [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map((one, at) => (at ? String(one).padStart(2, "0") : one)).join(":");
}

/** 812 · 17.4k · 2.1M */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return "—";
  if (value < 1000) return String(value);
  if (value < 999_950) return `${(value / 1000).toFixed(value < 99_950 ? 1 : 0)}k`;
  return `${(value / 1e6).toFixed(1)}M`;
}

/** $0.18 · $0.0042; «≥» where calls have no price, «—» where none has one. */
export function money(usd: number | null | undefined, unpriced = 0): string {
  if (usd === null || usd === undefined) return "—";
  const text = usd === 0 ? "$0" : usd < 0.00005 ? "<$0.0001" : usd < 0.1 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`;
  return unpriced > 0 ? `≥ ${text}` : text;
}

/** 1 error, 2 errors */
export function plural(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

/** 09:04:17, in the reader's own zone. */
export function clock(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "—";
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** 09:04:17.512 */
export function clockMs(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "—";
  return `${clock(ms)}.${String(Math.floor(((ms % 1000) + 1000) % 1000)).padStart(3, "0")}`;
}

/** 2026-11-21 09:04, in the reader's own zone. */
export function date(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "—";
  const at = new Date(ms);
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${day} ${clock(ms).slice(0, 5)}`;
}

// Marks that turn the direction of text, hide in it, or end a line: shown, so that nothing can pose as something else.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Text as it is to be seen: control and direction marks as ⟨U+202E⟩. */
export function seen(text: string): string {
  return text.replace(HIDDEN, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}
