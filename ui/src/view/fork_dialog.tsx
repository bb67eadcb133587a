import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { quoted } from "../model/commands.ts";
import { copy } from "../state/copying.ts";
import { go, sessionPath } from "../state/location.ts";
import type { Looking } from "../state/looking.ts";
import { post } from "../state/source.ts";

/** How to go on from a step with another session: at once, or by the commands, to be run where the agent is. */
export function ForkDialog({ looking, onClose }: { looking: Looking; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { session } = looking;
  const row = looking.node.value?.row;
  const name = useSignal(`${session.id}-fork`);
  const point = row ? `${session.id}@${row.number}` : session.id;
  const refused = useSignal("");
  useEffect(() => dialog.current?.showModal(), []);
  const fork = async (event: Event) => {
    event.preventDefault();
    try {
      const made = await post<{ session_id: string }>(`${session.path}/fork`, { at: row?.number ?? null, session_id: name.value });
      dialog.current?.close();
      go(sessionPath(made.session_id));
    } catch (error) {
      refused.value = (error as Error).message;
    }
  };
  const commands = [
    [`agent-journal copy ${quoted(point)} ${quoted(name.value)}`, "Make the fork"],
    [`agent-journal resume ${quoted(name.value)}`, "Let it go on"],
    [`agent-journal diff ${quoted(session.id)} ${quoted(name.value)}`, "Compare the two"],
  ] as const;
  return (
    <dialog ref={dialog} aria-labelledby="fork-title" onClose={onClose}>
      <h2 id="fork-title">Fork {row ? `at step ${row.number}` : "this session"}</h2>
      <p class="mid">A fork is a session of its own that begins with what this one knew there. This one stays as it is.</p>
      <form class="fork" onSubmit={(event) => void fork(event)}>
        <label>Its name <input class="field" value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} /></label>
        <button class="button">Fork now</button>
      </form>
      {refused.value && <p role="alert" class="mid">{refused.value}</p>}
      {commands.map(([command, does]) => (
        <div key={does}>
          <h3>{does}</h3>
          <div class="command">
            <code>{command}</code>
            <button class="button" onClick={() => void copy(command, "the command")}>Copy</button>
          </div>
        </div>
      ))}
      <form method="dialog"><button class="button">Close</button></form>
    </dialog>
  );
}
