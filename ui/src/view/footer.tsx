import type { Looking } from "../state/looking.ts";
import { inFile } from "../state/location.ts";

const KEYS = [["j k", "move"], ["e", "next error"], ["[ ]", "same name"], ["f", "follow"], ["c", "copy link"], ["y", "copy command"]];

/** The keys most used, and how live the page is. */
export function Footer({ looking }: { looking: Looking }) {
  const { session } = looking;
  return (
    <footer>
      {KEYS.map(([key, does]) => <span key={key} class="left">{key} {does}</span>)}
      <span class="right">
        {session.truncated.value > 0 && <span>{session.truncated.value} more steps are not shown</span>}
        <span role="status">{linkWords(looking)}</span>
        <span>events {session.about.value?.events ?? "—"}</span>
      </span>
    </footer>
  );
}

function linkWords({ session }: Looking): string {
  if (inFile) return "exported";
  if (session.paused.value) return "paused";
  const link = session.link.value;
  if (link === "reconnecting") return "connection lost, trying again…";
  if (link === "connecting") return "connecting…";
  if (session.delayed.value !== null) return `delayed by ${session.delayed.value} s`;
  return session.live ? "live" : "not running";
}
