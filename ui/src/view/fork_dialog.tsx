import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { quoted } from "../model/commands.ts";
import { copy } from "../state/copying.ts";
import type { Looking } from "../state/looking.ts";

/** How to go on from a step with another session: the command, to be run where the agent is. */
export function ForkDialog({ looking, onClose }: { looking: Looking; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { session } = looking;
  const row = looking.node.value?.row;
  const name = useSignal(`${session.id}-fork`);
  const point = row ? `${session.id}@${row.number}` : session.id;
  useEffect(() => dialog.current?.showModal(), []);
  const commands = [
    [`agent-journal copy ${quoted(point)} ${quoted(name.value)}`, "Make the fork"],
    [`agent-journal resume ${quoted(name.value)}`, "Let it go on"],
    [`agent-journal diff ${quoted(session.id)} ${quoted(name.value)}`, "Compare the two"],
  ] as const;
  return (
    <dialog ref={dialog} aria-labelledby="fork-title" onClose={onClose}>
      <h2 id="fork-title">Fork {row ? `at step ${row.number}` : "this session"}</h2>
      <p class="mid">A fork is a session of its own that begins with what this one knew there. This one stays as it is.</p>
      <p>
        <label>Its name <input class="field" value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} /></label>
      </p>
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
