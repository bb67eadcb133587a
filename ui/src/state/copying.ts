// To the clipboard, and a word that it is done.
import { signal } from "@preact/signals";

export const said = signal("");
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says something for some seconds, to eyes and to screen readers. */
export function say(text: string): void {
  said.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => (said.value = ""), 2500);
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}`);
  } catch {
    say(copyByHand(text) ? `Copied ${what}` : "The browser does not let this page copy");
  }
}

/** Where the page has no clipboard of its own: over plain http from another machine. */
function copyByHand(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  const before = document.activeElement as HTMLElement | null;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
