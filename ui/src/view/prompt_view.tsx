import { useSignal } from "@preact/signals";
import { plural } from "../model/words.ts";
import { asText } from "../model/json.ts";
import { copy } from "../state/copying.ts";
import type { Message, Prompt } from "../state/detail.ts";
import { MessageView } from "./message.tsx";
import { Part, ValuePart } from "./part.tsx";

const FEW = 3;

/** The exact request of a model call, what was trimmed of it marked; `few`: its end first. */
export function PromptView({ prompt, few = false, answer }: { prompt: Prompt; few?: boolean; answer?: unknown }) {
  const messages = prompt.messages ?? [];
  const all = useSignal(!few);
  const from = all.value ? 0 : Math.max(0, messages.length - FEW);
  const trimmed = new Map((Array.isArray(prompt.trimmed) ? prompt.trimmed : []).map((one: { before: number; messages: number }) => [one.before, one.messages]));
  return (
    <>
      <Part title="Prompt" actions={<button onClick={() => void copy(asText(prompt), "the prompt")}>copy</button>}>
        {prompt.complete === false && <div class="message cut">not all of it is in the journal{prompt.why ? `: ${prompt.why}` : ""}</div>}
        {from > 0 && <button class="message cut" onClick={() => (all.value = true)}>{plural(from, "earlier message")}</button>}
        {messages.slice(from).map((message, at) => (
          <div key={from + at}>
            <Trimmed many={trimmed.get(from + at)} />
            <MessageView message={message} pointer={`/prompt/messages/${from + at}`} />
          </div>
        ))}
        <Trimmed many={trimmed.get(messages.length)} />
      </Part>
      {few && answer !== undefined && answer !== null && <Answer value={answer} />}
      {!few && <ValuePart title="Tools" value={prompt.tools?.length ? prompt.tools : null} pointer="/prompt/tools" />}
      {!few && <ValuePart title="Parameters" value={prompt.params && Object.keys(prompt.params).length ? prompt.params : null} pointer="/prompt/params" />}
    </>
  );
}

function Trimmed({ many }: { many: number | undefined }) {
  return many ? <div class="message cut">{plural(many, "message")} trimmed by the program</div> : null;
}

function Answer({ value }: { value: unknown }) {
  const message = value !== null && typeof value === "object" && "role" in value ? (value as Message) : null;
  if (!message) return <ValuePart title="Answer" value={value} pointer="/output" />;
  return <Part title="Answer" actions={<button onClick={() => void copy(asText(message.content ?? message), "the answer")}>copy</button>}><MessageView message={message} pointer="/output" /></Part>;
}
