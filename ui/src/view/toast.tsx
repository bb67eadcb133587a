import { said } from "../state/copying.ts";

/** What was just done, for eyes and screen readers. */
export function Toast() {
  return <div class="toast" role="status">{said.value}</div>;
}
