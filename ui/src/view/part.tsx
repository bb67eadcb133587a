import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { asText, parsed } from "../model/json.ts";
import { copy } from "../state/copying.ts";
import { Cut } from "./cut.tsx";
import { JsonView } from "./json_view.tsx";

/** A headed part of the detail pane. */
export function Part({ title, children, actions }: { title: string; children: ComponentChildren; actions?: ComponentChildren }) {
  return (
    <section class="part">
      <h3>{title}<span>{actions}</span></h3>
      {children}
    </section>
  );
}

/** A value with its heading: text as text, all else opened bit by bit, either as it was written. */
export function ValuePart({ title, value, pointer }: { title: string; value: unknown; pointer?: string }) {
  const raw = useSignal(false);
  if (value === null || value === undefined) return null;
  const plain = typeof value === "string" && parsed(value) === null;
  const actions = (
    <>
      <button aria-label={`Copy ${title}`} onClick={() => void copy(asText(value), title.toLowerCase())}>copy</button>
      {!plain && <button aria-pressed={raw.value} onClick={() => (raw.value = !raw.value)}>{raw.value ? "tree" : "raw"}</button>}
    </>
  );
  return (
    <Part title={title} actions={actions}>
      {plain ? <div class="box prose"><Cut text={value as string} pointer={pointer} /></div> : raw.value ? <pre class="box"><Cut text={asText(value)} /></pre> : <JsonView value={value} pointer={pointer} />}
    </Part>
  );
}
