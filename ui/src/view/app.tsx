import { signal } from "@preact/signals";
import { href, onLink, place } from "../state/location.ts";
import { SessionPage } from "./session_page.tsx";
import "./compare.css";
import "./sessions.css";

type Lists = typeof import("./lists.tsx");

const lists = signal<Lists | null>(null);
const unloadable = signal(false);

/** The page that the address names. */
export function App() {
  const { path } = place.value;
  return <div class="app" onClick={onLink}>{pageOf(path)}</div>;
}

function pageOf(path: string) {
  if (path.startsWith("/sessions/")) {
    const id = decoded(path.slice("/sessions/".length));
    return <SessionPage key={id} id={id} />;
  }
  if (!IN_FILE && LISTS.has(path)) return <OfLists compare={path === "/compare"} />;
  return (
    <main class="blank">
      <h1>There is no such page</h1>
      <p>
        <a href={href("/")}>All sessions</a>
      </p>
    </main>
  );
}

/** What a part of an address names; one that somebody mistyped is taken as it stands. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const LISTS = new Set(["/", "/agents", "/tools", "/compare"]);

function OfLists({ compare }: { compare: boolean }) {
  const found = lists.value;
  if (unloadable.value) return <p class="waiting" role="alert">A part of this page could not be loaded. Is agent-journal still running? Then load it again.</p>;
  if (found) return compare ? <found.ComparePage /> : <found.SessionsPage />;
  import("./lists.tsx").then((loaded) => (lists.value = loaded), () => (unloadable.value = true));
  return <p class="waiting">Reading the journal…</p>;
}
