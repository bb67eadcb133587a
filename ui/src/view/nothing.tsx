import { copy } from "../state/copying.ts";
import type { Overview } from "../state/overview.ts";
import { setList } from "../state/overview.ts";
import { NAMES } from "../model/search.ts";

const FIRST = "agent-journal run -- python my_agent.py";
const DEMO = "agent-journal demo";

/** What is said where the list is empty: why, and what to do. */
export function Nothing({ overview, filtered }: { overview: Overview; filtered: boolean }) {
  const refusal = overview.refusal.value;
  if (refusal) {
    return (
      <div class="nothing" role="alert">
        <h2>The sessions cannot be read</h2>
        <p class="mid">{refusal.message}</p>
        <p><button class="button" onClick={() => location.reload()}>Try again</button></p>
      </div>
    );
  }
  if (!overview.known.value) return <p class="waiting" role="status">Reading the journal…</p>;
  if (filtered) {
    const none = Object.fromEntries([...NAMES, "from", "to"].map((name) => [name, null]));
    return (
      <div class="nothing">
        <h2>No session matches</h2>
        <p><button class="button" onClick={() => setList(none)}>Show all sessions</button></p>
      </div>
    );
  }
  return (
    <div class="nothing">
      <h2>No sessions yet</h2>
      <p class="mid">Sessions appear here the moment an agent begins. In a terminal, in the folder of your program:</p>
      {[FIRST, DEMO].map((command) => (
        <p key={command} class="command"><code>{command}</code><button class="button" onClick={() => void copy(command, "the command")}>Copy</button></p>
      ))}
      <p class="mute">The first journals your agent. The second is an agent that needs no key and takes a second.</p>
    </div>
  );
}
