import { onLink, place } from "../state/location.ts";
import { SessionPage } from "./session_page.tsx";
import { SessionsPage } from "./sessions_page.tsx";

/** The page that the address names. */
export function App() {
  const { path } = place.value;
  return <div class="app" onClick={onLink}>{pageOf(path)}</div>;
}

function pageOf(path: string) {
  if (path === "/" || path === "/agents" || path === "/tools") return <SessionsPage />;
  if (path.startsWith("/sessions/")) {
    const id = decodeURIComponent(path.slice("/sessions/".length));
    return <SessionPage key={id} id={id} />;
  }
  return (
    <main class="blank">
      <h1>There is no such page</h1>
      <p>
        <a href="/">All sessions</a>
      </p>
    </main>
  );
}
