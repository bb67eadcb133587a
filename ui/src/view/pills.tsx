import type { Pill } from "../model/filter.ts";
import { clock, count } from "../model/words.ts";
import { setQuery } from "../state/location.ts";
import type { Looking, Tab } from "../state/looking.ts";
import { BASES, TABS } from "../state/looking.ts";

const WORDS: Readonly<Record<Pill, string>> = {
  errors: "Errors",
  models: "Models",
  tools: "Tools",
  retrievals: "Retrievals",
  critical: "Critical path",
  slow: "≥ 1 s",
};
const DOTS: Partial<Readonly<Record<Pill, string>>> = { errors: "var(--error)", models: "var(--model)", tools: "var(--tool)", retrievals: "var(--retrieval)" };
const TAB_WORDS: Readonly<Record<Tab, string>> = { steps: "Steps", conversation: "Conversation", events: "Events", state: "State" };

/** Which of a session is shown: tab, filter, zoom, basis, search. */
export function Pills({ looking }: { looking: Looking }) {
  const { session } = looking;
  session.version.value;
  const chosen = looking.pill.value;
  const inSteps = looking.tab.value === "steps";
  const { of: counts, all } = session.counts;
  const shown = (Object.keys(WORDS) as Pill[]).filter((one) => counts[one] > 0 || one === chosen);
  return (
    <div class="pills">
      <div class="tabs" role="tablist" aria-label="What is shown" onKeyDown={onTabKey}>
        {TABS.map((tab) => (
          <button key={tab} role="tab" class="pill" aria-selected={tab === looking.tab.value} tabIndex={tab === looking.tab.value ? 0 : -1} onClick={() => setQuery({ tab: tab === "steps" ? null : tab }, false)}>
            {TAB_WORDS[tab]}
          </button>
        ))}
      </div>
      {inSteps && (
        <>
          <span class="line" />
          <button class="pill" aria-pressed={chosen === null} onClick={() => setQuery({ show: null })}>
            All <b>{count(all)}</b>
          </button>
          {shown.map((one) => (
            <button key={one} class="pill" aria-pressed={one === chosen} onClick={() => setQuery({ show: one === chosen ? null : one })}>
              {DOTS[one] && <span class="dot" style={{ "--c": DOTS[one] }} />}
              {WORDS[one]} <b>{count(counts[one])}</b>
            </button>
          ))}
          <Zoomed looking={looking} />
          <span class="line only-wide" />
          <span class="bases" role="group" aria-label="What bars show">
            <span>bars:</span>
            {BASES.map((one) => (
              <button key={one} aria-pressed={looking.basis.value === one} onClick={() => setQuery({ bars: one === "time" ? null : one })}>{one}</button>
            ))}
            <kbd class="only-wide">b</kbd>
          </span>
          <input
            class="search"
            type="search"
            placeholder="Search steps…  /"
            aria-label="Search steps: words, kind:tool, status:error, #14, >1s"
            title="words, kind:tool, status:error, name:search, #14, >1s"
            value={looking.typed.value}
            onInput={(event) => setQuery({ q: event.currentTarget.value })}
            onKeyDown={(event) => {
              if (event.key === "Enter" || event.key === "ArrowDown") document.querySelector<HTMLElement>('[role="treegrid"] [data-key]')?.click();
            }}
          />
        </>
      )}
    </div>
  );
}

function Zoomed({ looking }: { looking: Looking }) {
  const zoom = looking.zoom.value;
  const began = looking.session.about.value?.began_ms;
  if (!zoom || began === null || began === undefined) return null;
  return (
    <button class="pill" aria-pressed="true" title="Show all (Esc)" onClick={() => setQuery({ zoom: null })}>
      {clock(began + zoom[0])} – {clock(began + zoom[1])} ✕
    </button>
  );
}

/** Arrow keys go from tab to tab, as in every list of tabs. */
export function onTabKey(event: KeyboardEvent): void {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const tabs = [...(event.currentTarget as Element).querySelectorAll<HTMLElement>('[role="tab"]')];
  const next = tabs[(tabs.indexOf(document.activeElement as HTMLElement) + by + tabs.length) % tabs.length];
  next?.click();
  next?.focus();
}
