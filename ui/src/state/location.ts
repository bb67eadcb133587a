// Where the viewer is: which page, and everything that a link to it must say. The address bar is the one copy of it.
//
// Pages live below the server's root path (`<meta name="root-path">`). In a page that was exported to a file there is
// no server: there the same addresses stand behind the `#`.
import { computed, signal } from "@preact/signals";
import { aboutFile } from "./exported.ts";

export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Whether this page holds its journal itself, as `export --html` writes it. */
export const inFile = IN_FILE;

/** The path that is shown where the address names none. */
const home = inFile ? sessionPath(aboutFile().session_id) : "/";
const root = document.querySelector<HTMLMetaElement>('meta[name="root-path"]')?.content ?? "";

function read(): Place {
  const address = inFile ? location.hash.slice(1) || home : location.pathname.slice(root.length) + location.search;
  const cut = address.indexOf("?");
  const path = cut < 0 ? address : address.slice(0, cut);
  return { path: path || home, query: new URLSearchParams(cut < 0 ? "" : address.slice(cut)) };
}

export const place = signal<Place>(read());
addEventListener(inFile ? "hashchange" : "popstate", () => (place.value = read()));

/** The address of a path of ours, as a link or `fetch` wants it. */
export function href(path: string): string {
  return inFile ? `#${path}` : root + path;
}

/** Goes to a path with its query; `replace` keeps the step back as it was. */
export function go(path: string, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", href(path));
  place.value = read();
}

/** Sets what is named in the query of this page; null takes it away. A filter or a selection replaces, a page pushes. */
export function setQuery(changes: Readonly<Record<string, string | null>>, replace = true): void {
  const { path, query } = place.peek();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  go(text ? `${path}?${text}` : path, replace);
}

/** A value of the query as a signal. */
export function queryOf(name: string) {
  return computed(() => place.value.query.get(name));
}

/** The path of a session's page. */
export function sessionPath(id: string): string {
  return `/sessions/${encodeURIComponent(id)}`;
}

/** What a click on a link does: a plain one stays in the page, all others are the browser's. */
export function onLink(event: MouseEvent): void {
  const link = (event.target as Element).closest("a");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const address = link.getAttribute("href") ?? "";
  const here = inFile ? "#/" : `${root}/`;
  if (link.target || link.hasAttribute("download") || !address.startsWith(here) || address.startsWith(`${root}/api/`)) return;
  event.preventDefault();
  go(address.slice(inFile ? 1 : root.length));
}
