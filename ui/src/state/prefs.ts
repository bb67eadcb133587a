// What a browser keeps from visit to visit: few things, and nothing of any journal.
import { signal } from "@preact/signals";

function kept(name: string, otherwise: number): number {
  try {
    const value = Number(localStorage.getItem(`agent-journal.${name}`) ?? NaN);
    return Number.isFinite(value) ? value : otherwise;
  } catch {
    return otherwise;
  }
}

function keep(name: string, value: number): void {
  try {
    localStorage.setItem(`agent-journal.${name}`, String(value));
  } catch {
    // storage may be forbidden; then it lasts as long as the page
  }
}

/** The share of the name column, in percent of name and bars together. */
export const nameShare = signal(kept("names", 52));
/** The share of the detail pane, in percent of the page. */
export const detailShare = signal(kept("detail", 30));

export function setNameShare(percent: number): void {
  nameShare.value = Math.min(85, Math.max(15, percent));
  keep("names", nameShare.value);
}

export function setDetailShare(percent: number): void {
  detailShare.value = Math.min(60, Math.max(20, percent));
  keep("detail", detailShare.value);
}
