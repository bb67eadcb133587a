import { useSignal, useSignalEffect } from "@preact/signals";
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { clock } from "../model/words.ts";
import type { Message } from "../state/detail.ts";
import type { Looking } from "../state/looking.ts";
import { getJson, Refusal } from "../state/source.ts";
import { MessageView } from "./message.tsx";

export interface Spoken extends Message {
  readonly timestamp?: string;
  readonly step_id?: string | null;
  readonly number?: number | null;
}

const AGAIN_MS = 1000;

interface Page {
  readonly messages: readonly Spoken[];
  readonly next: number | null;
  readonly cut: readonly { readonly pointer: string; readonly length: number | null }[];
}

/** What was said, in order; of a long conversation only what is in sight is drawn. */
export function Conversation({ looking }: { looking: Looking }) {
  const { session } = looking;
  const messages = useSignal<readonly Spoken[] | null>(null);
  const refusal = useSignal("");
  const more = useRef<{ asking: boolean; all: boolean; timer: ReturnType<typeof setTimeout> | undefined }>({ asking: false, all: false, timer: undefined });
  const fetchMore = async () => {
    const state = more.current;
    if (state.asking) return;
    state.asking = true;
    try {
      const known = messages.peek() ?? [];
      const page = await getJson<Page>(`${session.path}/messages?from=${known.length}`);
      state.all = page.next === null;
      if (page.messages.length || messages.peek() === null) messages.value = [...known, ...page.messages];
    } catch (error) {
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
    state.asking = false;
  };
  useSignalEffect(() => {
    session.version.value; // what is said comes with the steps that say it
    const state = more.current;
    state.timer ??= setTimeout(() => {
      state.timer = undefined;
      if (state.all || messages.peek() === null) void fetchMore();
    }, messages.peek() === null ? 0 : AGAIN_MS);
  });
  useEffect(() => () => clearTimeout(more.current.timer), []);
  if (refusal.value) return <p class="body" role="alert">{refusal.value}</p>;
  if (!messages.value) return <p class="waiting">Reading the conversation…</p>;
  if (messages.value.length === 0) return <p class="waiting">Nothing was said, or content is not journaled.</p>;
  return <Messages messages={messages.value} looking={looking} onEnd={() => void (!more.current.all && fetchMore())} />;
}

function Messages({ messages, looking, onEnd }: { messages: readonly Spoken[]; looking: Looking; onEnd: () => void }) {
  const scroller = useRef<HTMLDivElement>(null);
  const drawn = useSignal(0);
  const virtual = useMemo(
    () =>
      new Virtualizer<HTMLDivElement, HTMLDivElement>({
        count: messages.length,
        getScrollElement: () => scroller.current,
        estimateSize: () => 90,
        overscan: 6,
        scrollToFn: elementScroll,
        observeElementRect,
        observeElementOffset,
        onChange: () => drawn.value++,
      }),
    [],
  );
  virtual.setOptions({ ...virtual.options, count: messages.length });
  useEffect(() => virtual._didMount(), []);
  useLayoutEffect(() => virtual._willUpdate());
  drawn.value;
  const last = virtual.getVirtualItems().at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= messages.length - 20) onEnd();
  }, [last, messages.length]);
  return (
    <div class="body conversation" ref={scroller} role="log" aria-label="Conversation" aria-live="off" tabIndex={0}>
      <div class="grid-space" style={{ height: `${virtual.getTotalSize()}px` }}>
        {virtual.getVirtualItems().map((item) => {
          const message = messages[item.index]!;
          return (
            <div key={item.key} data-index={item.index} ref={(element) => virtual.measureElement(element)} class="grid-window" style={{ top: `${item.start}px` }}>
              <MessageView message={message} aside={<StepLink message={message} looking={looking} />} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

function StepLink({ message, looking }: { message: Spoken; looking: Looking }) {
  const node = message.step_id ? looking.session.tree.find(message.step_id) : null;
  const at = message.timestamp ? clock(Date.parse(message.timestamp)) : "";
  if (!node) return <>{at}</>;
  return <>{at} <button onClick={() => looking.select(node)}>step {node.row!.number}</button></>;
}
