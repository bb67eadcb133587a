import type { Refusal } from "../state/source.ts";
import { href } from "../state/location.ts";

/** What is said where there is nothing to show: what, why, and what next. */
export function Refused({ refusal, what }: { refusal: Refusal; what: string }) {
  return (
    <main class="blank">
      <h1>{refusal.status === 404 ? `${what} is not in this journal` : `${what} cannot be shown`}</h1>
      <p class="mid" role="alert">{refusal.message}</p>
      {refusal.status === 404 && <p class="mid">If it is about to begin, this page shows it as soon as it does.</p>}
      <p>
        <a class="button" href={href("/")}>All sessions</a>{" "}
        <button class="button" onClick={() => location.reload()}>Try again</button>
      </p>
    </main>
  );
}
