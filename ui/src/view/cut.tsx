import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { count, seen } from "../model/words.ts";
import type { Rest } from "../state/detail.ts";
import { say } from "../state/copying.ts";

const MOST = 65_536; // characters that are drawn unasked

/** What the server left out of the answer that is shown, and how to get it. */
export const RestOf = createContext<Rest | null>(null);

/** A text, of a long one the beginning until more is asked for; `pointer`: where it stands in the answer. */
export function Cut({ text, pointer }: { text: string; pointer?: string | undefined }) {
  const most = useSignal(MOST);
  const more = useSignal("");
  const rest = useContext(RestOf);
  const whole = pointer === undefined ? undefined : rest?.cut.get(pointer);
  const all = text + more.value;
  const left = Math.max(whole ?? 0, all.length) - Math.min(all.length, most.value);
  const onMore = async () => {
    most.value = most.value * 4 + MOST;
    if (!rest || pointer === undefined || whole === undefined || all.length >= Math.min(whole, most.value)) return;
    try {
      more.value += await rest.load(pointer, all.length);
      most.value = Math.max(most.value, text.length + more.value.length);
    } catch (error) {
      say(String((error as Error).message));
    }
  };
  return (
    <>
      {seen(all.length > most.value ? all.slice(0, most.value) : all)}
      {left > 0 && <button class="more" onClick={() => void onMore()}> … load the rest ({count(left)} characters)</button>}
    </>
  );
}
