import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Detail } from "../state/detail.ts";
import { href, inFile } from "../state/location.ts";
import type { Looking } from "../state/looking.ts";
import { copyCommand, copyLink, copyMarkdown } from "../state/sharing.ts";

/** What can be taken away: a link, a command, text, files. */
export function ShareMenu({ looking, detail, onFork }: { looking: Looking; detail: Detail; onFork: () => void }) {
  const open = useSignal(false);
  const home = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const onClick = (event: Event) => {
      if (!home.current?.contains(event.target as Node)) open.value = false;
    };
    addEventListener("click", onClick);
    return () => removeEventListener("click", onClick);
  }, []);
  const close = (then: () => void) => () => {
    open.value = false;
    then();
  };
  const base = looking.session.about.value?.forked_from;
  return (
    <div
      class="menu"
      ref={home}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open.value) return;
        event.stopPropagation();
        open.value = false;
        home.current?.querySelector("button")?.focus();
      }}
    >
      <button class="button" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>Export</button>
      {open.value && (
        <div>
          <button onClick={close(copyLink)}>Copy link <kbd>c</kbd></button>
          <button onClick={close(() => copyCommand(looking))}>Copy command <kbd>y</kbd></button>
          <button onClick={close(() => copyMarkdown(looking, detail))}>Copy as Markdown <kbd>m</kbd></button>
          {!inFile && <button onClick={close(onFork)}>Fork here…</button>}
          {!inFile && base && <a href={href(`/compare?${new URLSearchParams({ a: base, b: looking.session.id })}`)}>Compare with what it was forked from</a>}
          {!inFile && <a href={href(`${looking.session.path}/events`)} download={`${looking.session.id}.jsonl`}>Events as JSON lines</a>}
          <button onClick={close(() => copyCommand(looking, "html"))}>Copy the command for one HTML file</button>
        </div>
      )}
    </div>
  );
}
