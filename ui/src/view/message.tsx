import type { ComponentChildren } from "preact";
import { seen } from "../model/words.ts";
import type { Message } from "../state/detail.ts";
import { Cut } from "./cut.tsx";
import { JsonView } from "./json_view.tsx";

/** One message of a conversation: who speaks, what is said, which tools are called. */
export function MessageView({ message, aside }: { message: Message; aside?: ComponentChildren }) {
  const calls = message.tool_calls ?? [];
  const { content, reasoning } = message;
  return (
    <article class="message">
      <header>
        <span>{seen([message.role ?? "?", message.author ?? message.name].filter(Boolean).join(" · "))}</span>
        <span class="mute">{aside ?? (calls.length ? `${calls.length} tool call${calls.length > 1 ? "s" : ""}` : "")}</span>
      </header>
      <div>
        {reasoning !== undefined && reasoning !== null && reasoning !== "" && <div class="thought"><Content content={reasoning} /></div>}
        <Content content={content} />
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
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= 120 ? <>({seen(text)})</> : <JsonView value={value} />;
}

/** What is said: text, or blocks of which some are text. */
function Content({ content }: { content: unknown }) {
  if (content === null || content === undefined || content === "") return null;
  if (typeof content === "string") return <Cut text={content} />;
  if (!Array.isArray(content)) return <JsonView value={content} />;
  return (
    <>
      {content.map((block: unknown, at) => {
        const text = typeof block === "string" ? block : textOf(block);
        return text === null ? <JsonView key={at} value={block} /> : <div key={at}><Cut text={text} /></div>;
      })}
    </>
  );
}

function textOf(block: unknown): string | null {
  if (block === null || typeof block !== "object") return null;
  const { text, type } = block as { text?: unknown; type?: unknown };
  return typeof text === "string" && (type === undefined || type === "text") ? text : null;
}
