import type { ComponentChildren } from "preact";
import { copy } from "../state/copying.ts";

/** One panel: its name, what it shows, and the SQL that makes it. */
export function Panel({ name, sql, extra, children, label }: { name: string; sql?: string | undefined; extra?: ComponentChildren; children: ComponentChildren; label?: string }) {
  return (
    <section class="panel" aria-label={label ?? name}>
      <h2>
        <span>{name}</span>
        <span class="acts">
          {extra}
          {sql && <button onClick={() => void copy(sql, "the SQL")} title={sql}>copy SQL</button>}
        </span>
      </h2>
      {children}
    </section>
  );
}
