import { useEffect, useRef } from "preact/hooks";
import { KEYS } from "../state/keys.ts";
import type { Looking } from "../state/looking.ts";

/** All keys of the page. */
export function Help({ looking }: { looking: Looking }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = looking.helpOpen.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="keys-title" onClose={() => (looking.helpOpen.value = false)} onKeyDown={(event) => event.key === "?" && dialog.current?.close()}>
      <h2 id="keys-title">Keys</h2>
      <dl class="keys">
        {KEYS.map(([key, does]) => (
          <div key={key}>
            <dt>{key.split(" ").map((one) => (one === "or" ? " or " : <kbd key={one}>{one}</kbd>))}</dt>
            <dd class="mid">{does}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog"><button class="button">Close</button></form>
    </dialog>
  );
}
