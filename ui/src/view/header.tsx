import { useSignal } from "@preact/signals";
import { sessionState, STATE_WORDS } from "../model/rows.ts";
import { clock, count, duration, money, plural, seen } from "../model/words.ts";
import { setQuery } from "../state/location.ts";
import { href, inFile } from "../state/location.ts";
import type { Detail } from "../state/detail.ts";
import type { Looking } from "../state/looking.ts";
import { toggleTheme } from "../state/theme.ts";
import { ForkDialog } from "./fork_dialog.tsx";
import { StateIcon } from "./icons.tsx";
import { ShareMenu } from "./share_menu.tsx";
import { Play } from "./play.tsx";

/** Which session it is, how it is, and what can be done with it. */
export function Header({ looking, detail }: { looking: Looking; detail: Detail }) {
  const { session } = looking;
  const forking = useSignal(false);
  return (
    <header>
      {inFile ? <span class="mark" /> : <a class="mark" href={href("/")} aria-label="All sessions" />}
      <nav aria-label="Where">
        {!inFile && <a class="only-wide" href={href("/")}>Sessions</a>}
        {!inFile && <span class="only-wide" aria-hidden="true">/</span>}
        <h1 title={session.id}>{seen(session.id)}</h1>
      </nav>
      <Doing looking={looking} />
      <Facts looking={looking} />
      <div class="tools">
        {session.live ? <PauseButton looking={looking} /> : <Play looking={looking} />}
        {!inFile && <button class="button only-wide" onClick={() => (forking.value = true)}>Fork here</button>}
        <ShareMenu looking={looking} detail={detail} onFork={() => (forking.value = true)} />
        <button class="button square" aria-label="Light or dark" title="Light or dark" onClick={toggleTheme}>◐</button>
        <button class="button square" aria-label="Keys" title="Keys (?)" onClick={() => (looking.helpOpen.value = true)}>?</button>
      </div>
      {forking.value && <ForkDialog looking={looking} onClose={() => (forking.value = false)} />}
    </header>
  );
}

/** The session that this one was forked from, or those that were forked from it, to compare with. */
function Lineage({ looking }: { looking: Looking }) {
  const about = looking.session.about.value;
  const other = about?.forked_from ?? about?.forks[0];
  if (!about || !other || inFile) return null;
  const [a, b] = about.forked_from ? [other, about.session_id] : [about.session_id, other];
  const compare = `/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`;
  const said = about.forked_from ? `fork of ${other}` : plural(about.forks.length, "fork");
  return <a class="extra mute" href={href(compare)} title="Compare the two">{seen(said)}</a>;
}

function PauseButton({ looking }: { looking: Looking }) {
  const { paused, held } = looking.session;
  return (
    <button class="button" aria-pressed={paused.value} onClick={() => looking.session.setPaused(!paused.value)}>
      {paused.value ? `Resume${held.value ? ` · ${held.value} new` : ""}` : "Pause live"} <kbd>space</kbd>
    </button>
  );
}

function Doing({ looking }: { looking: Looking }) {
  const about = looking.session.about.value;
  if (!about) return <span class="mute">Reading the journal…</span>;
  const state = sessionState(about);
  const since = (state === "killed" || state === "lost") && about.seen_ms !== null ? ` · last seen ${clock(about.seen_ms)}` : "";
  return (
    <span class="doing" role="status" title={about.doing ?? ""}>
      {state === "running" ? <span class="pulse" role="img" aria-label="running" /> : <StateIcon state={state} />}
      <span>{state === "running" ? seen(about.doing ?? "running") : `${STATE_WORDS[state]}${since}`}</span>
    </span>
  );
}

function Facts({ looking }: { looking: Looking }) {
  const { session } = looking;
  const about = session.about.value;
  if (!about) return null;
  session.version.value;
  const ended = session.live ? session.now.value : (about.ended_ms ?? about.updated_ms ?? about.began_ms);
  const tokens = about.input_tokens === null && about.output_tokens === null ? null : (about.input_tokens ?? 0) + (about.output_tokens ?? 0);
  return (
    <div class="facts">
      <span><b>{duration(about.began_ms === null || ended === null ? null : ended - about.began_ms)}</b></span>
      <span><b>{count(about.steps)}</b> {about.steps === 1 ? "step" : "steps"}</span>
      <span class="wide"><b>{count(tokens)}</b> tokens</span>
      <span class="wide" title={about.unpriced_calls ? `${plural(about.unpriced_calls, "call")} without a price` : ""}>
        <b>{about.cost_usd === null ? (about.unpriced_calls ? "unpriced" : "—") : money(about.cost_usd, about.unpriced_calls)}</b>
      </span>
      {about.errors > 0 && (
        <button class="error" onClick={() => setQuery({ show: "errors", tab: null })}><b>{about.errors}</b> {about.errors === 1 ? "error" : "errors"}</button>
      )}
      <Lineage looking={looking} />
      {about.process && <span class="mute extra">{seen(about.process)}</span>}
    </div>
  );
}
