import { href, place } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath, setList } from "../state/overview.ts";
import { toggleTheme } from "../state/theme.ts";

const PAGES = [["/", "Sessions"], ["/agents", "Agents"], ["/tools", "Tools"]] as const;
export const WINDOWS = [["", "Auto"], ["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["all", "All time"]] as const;

/** Which page, which time, and how live it is. */
export function SiteHeader({ overview, onHelp }: { overview: Overview; onHelp: () => void }) {
  const { path, query } = place.value;
  return (
    <header class="site">
      <a class="mark" href={href("/")} aria-label="All sessions" />
      <nav aria-label="Pages">
        {PAGES.map(([to, name]) => (
          <a key={to} href={href(listPath({}, to))} aria-current={to === path ? "page" : undefined}>{name}</a>
        ))}
      </nav>
      <span class="end mute" role="status">{liveWords(overview)}</span>
      <select aria-label="Time" value={query.get("since") ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
        {WINDOWS.map(([value, name]) => <option key={value} value={value}>{value || !overview.board.value ? name : `Auto: ${windowName(overview.board.value.window).toLowerCase()}`}</option>)}
      </select>
      <button class="button square" aria-label="Light or dark" title="Light or dark" onClick={toggleTheme}>◐</button>
      <button class="button square" aria-label="Keys" title="Keys (?)" onClick={onHelp}>?</button>
    </header>
  );
}

export function windowName(window: string): string {
  return WINDOWS.find(([value]) => value === window)?.[1] ?? `Since ${window}`;
}

function choose(since: string): void {
  setList({ since: since || null, from: null, to: null });
}

function liveWords(overview: Overview): string {
  const link = overview.link.value;
  if (overview.delayed.value !== null) return `delayed by ${overview.delayed.value} s`;
  return link === "live" ? "live" : link === "connecting" ? "connecting…" : "connection lost, trying again…";
}
