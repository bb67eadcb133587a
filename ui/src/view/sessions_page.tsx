import { useSignal, useSignalEffect } from "@preact/signals";
import type { Sessions } from "../model/wire.ts";
import { seen } from "../model/words.ts";
import { href, sessionPath } from "../state/location.ts";
import { getJson } from "../state/source.ts";

/** All sessions, newest first. */
export function SessionsPage() {
  const page = useSignal<Sessions | null>(null);
  useSignalEffect(() => void getJson<Sessions>("/api/sessions").then((got) => (page.value = got)));
  return (
    <main class="blank">
      <h1>Sessions</h1>
      <ul>
        {page.value?.sessions.map((one) => (
          <li key={one.session_id}>
            <a href={href(sessionPath(one.session_id))}>{seen(one.session_id)}</a> {one.status} {seen(one.doing ?? "")}
          </li>
        ))}
      </ul>
    </main>
  );
}
