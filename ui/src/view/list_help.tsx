import { useEffect, useRef } from "preact/hooks";

const KEYS = [
  ["↑ ↓ or k j", "move from session to session"],
  ["Enter", "open the session"],
  ["Home End, PgUp PgDn", "first and last, a page up and down"],
  ["x", "pick a session; of two picked a button compares them"],
  ["/", "search"],
  ["← →", "on the timeline: mark a time; Shift extends it"],
  ["Enter or +, -", "on the timeline: zoom into what is marked, zoom out"],
  ["Esc", "back to the whole time; out of the search"],
  ["?", "these keys"],
] as const;
const TERMS = [
  ["agent:researcher user:ann tag:vip tenant:acme", "whose"],
  ["status:running waiting failed killed lost cancelled completed", "one of these states"],
  ["cost>0.1", "that cost at least so many dollars"],
  ["error:KeyError tool:search", "in which this failed, or was called"],
  ["\"A-1042\" or any other word", "that holds this text"],
] as const;

/** The keys of the list, and the words of its search box. */
export function ListHelp({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} onClose={onClose} aria-label="Keys and search" onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
      <h2>Keys</h2>
      <dl class="help">{KEYS.map(([key, does]) => <div key={does}><dt><kbd>{key}</kbd></dt><dd>{does}</dd></div>)}</dl>
      <h2>Search</h2>
      <dl class="help">{TERMS.map(([term, does]) => <div key={term}><dt><code>{term}</code></dt><dd>{does}</dd></div>)}</dl>
      <form method="dialog"><button class="button">Close</button></form>
    </dialog>
  );
}
