import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Overview } from "../state/overview.ts";
import { place } from "../state/location.ts";
import { AgentsPage } from "./agents_page.tsx";
import { AlertStrip } from "./alert_strip.tsx";
import { TimelineEvents } from "./timeline_events.tsx";
import { FilterBar } from "./filter_bar.tsx";
import { ListHelp } from "./list_help.tsx";
import { Panels } from "./panels.tsx";
import { SessionList } from "./session_list.tsx";
import { SiteHeader } from "./site_header.tsx";
import { Toast } from "./toast.tsx";
import { ToolsPage } from "./tools_page.tsx";

/** All sessions: what they amount to, and each, live. Agents and tools are the same numbers from another side. */
export function SessionsPage() {
  const overview = useMemo(() => new Overview(), []);
  const help = useSignal(false);
  useEffect(() => overview.open(), []);
  useEffect(() => {
    document.title = "Sessions · agent journal";
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = event.target as HTMLElement;
      if (target.closest("dialog") || target.matches("input, select, textarea")) return;
      if (event.key === "/") document.querySelector<HTMLInputElement>(".look")?.focus();
      else if (event.key === "?") help.value = true;
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const { path } = place.value;
  return (
    <div class="sessions">
      <SiteHeader overview={overview} onHelp={() => (help.value = true)} />
      {path === "/agents" ? <AgentsPage overview={overview} /> : path === "/tools" ? <ToolsPage overview={overview} /> : <Lists overview={overview} />}
      <Toast />
      {help.value && <ListHelp onClose={() => (help.value = false)} />}
    </div>
  );
}

function Lists({ overview }: { overview: Overview }) {
  return (
    <main class="lists">
      <h1 class="hidden">Sessions</h1>
      <div>
        {overview.board.value && <AlertStrip alerts={overview.board.value.alerts} />}
        <Panels overview={overview} />
      </div>
      <FilterBar overview={overview} />
      {overview.events.value ? <TimelineEvents overview={overview} /> : <SessionList overview={overview} />}
    </main>
  );
}
