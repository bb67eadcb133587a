import type { ComponentChildren } from "preact";
import { below, childrenOf, parsed } from "../model/json.ts";
import { seen } from "../model/words.ts";
import type { Message } from "../state/detail.ts";
import { Cut } from "./cut.tsx";
import { JsonView } from "./json_view.tsx";

/** One message of a conversation: who speaks, what is said, which tools are called. */
export function MessageView({ message, aside, pointer }: { message: Message; aside?: ComponentChildren; pointer?: string }) {
  const calls = message.tool_calls ?? [];
  const { content, reasoning } = message;
  return (
    <article class="message">
      <header>
        <span>{seen([message.role ?? "?", message.author ?? message.name].filter(Boolean).join(" · "))}</span>
        <span class="mute">{aside ?? (calls.length ? `${calls.length} tool call${calls.length > 1 ? "s" : ""}` : "")}</span>
      </header>
      <div>
        {reasoning !== undefined && reasoning !== null && reasoning !== "" && <div class="thought"><Content content={reasoning} pointer={pointer && below(pointer, "reasoning")} /></div>}
        <Content content={content} pointer={pointer && below(pointer, "content")} />
        {calls.map((call, at) => (
          <div class="call" key={at}>
            <b>{seen(call.name ?? "?")}</b>
            <Arguments value={call.arguments ?? call.args} />
          </div>
        ))}
      </div>
    </article>
  );
}

function Arguments({ value }: { value: unknown }) {
  if (value === undefined || value === null) return <>()</>;
  const shown = parsed(value) ?? value;
  const named = typeof shown === "object" && !Array.isArray(shown);
  const text = named ? childrenOf(shown as object).map(([name, one]) => `${name}: ${JSON.stringify(one)}`).join(", ") : typeof shown === "string" ? shown : JSON.stringify(shown);
  return text.length <= 120 ? <>({seen(text)})</> : <JsonView value={shown} />;
}

/** What is said: text, or blocks of which some are text. */
function Content({ content, pointer }: { content: unknown; pointer: string | undefined }) {
  if (content === null || content === undefined || content === "") return null;
  if (typeof content === "string") return <Cut text={content} pointer={pointer} />;
  if (!Array.isArray(content)) return <JsonView value={content} pointer={pointer} />;
  return (
    <>
      {content.map((block: unknown, at) => {
        const text = typeof block === "string" ? block : textOf(block);
        const here = pointer && below(pointer, at);
        if (text === null) return <JsonView key={at} value={block} pointer={here} />;
        return <div key={at}><Cut text={text} pointer={typeof block === "string" ? here : here && below(here, "text")} /></div>;
      })}
    </>
  );
}

function textOf(block: unknown): string | null {
  if (block === null || typeof block !== "object") return null;
  const { text, type } = block as { text?: unknown; type?: unknown };
  return typeof text === "string" && (type === undefined || type === "text") ? text : null;
}
