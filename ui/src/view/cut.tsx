import { useSignal } from "@preact/signals";
import { count, seen } from "../model/words.ts";

const MOST = 65_536; // characters that are drawn unasked

/** A text, of a long one the beginning until more is asked for. */
export function Cut({ text }: { text: string }) {
  const most = useSignal(MOST);
  if (text.length <= most.value) return <>{seen(text)}</>;
  return (
    <>
      {seen(text.slice(0, most.value))}
      <button class="more" onClick={() => (most.value = Math.max(most.value * 4, 4 * MOST))}> … {count(text.length - most.value)} more characters</button>
    </>
  );
}
