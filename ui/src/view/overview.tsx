import { stateOf } from "../model/rows.ts";
import { showCommand } from "../model/commands.ts";
import type { TreeNode } from "../model/tree.ts";
import type { Row } from "../model/wire.ts";
import { seen } from "../model/words.ts";
import { asText } from "../model/json.ts";
import { copy } from "../state/copying.ts";
import type { ErrorInFull, StepInFull } from "../state/detail.ts";
import type { Looking } from "../state/looking.ts";
import { setQuery } from "../state/location.ts";
import { Cut } from "./cut.tsx";
import { Part, ValuePart } from "./part.tsx";
import { PromptView } from "./prompt_view.tsx";
import { WhereAndWhen } from "./where_and_when.tsx";

/** What one asks of a step first, in the order in which one asks it. */
export function Overview({ step, looking, node }: { step: StepInFull | null; looking: Looking; node: TreeNode }) {
  const row = node.row!;
  const error = step?.error ?? step?.attempts.findLast((one) => one.error)?.error ?? null;
  const failedBefore = step !== null && step.error === null && error !== null;
  return (
    <>
      {error && <ErrorPart error={error} title={failedBefore ? "Failed before" : "Error"} />}
      {!error && row.error && <Part title="Error"><div class="box error">{seen(row.error)}</div></Part>}
      <Streaming looking={looking} node={node} step={step} />
      <WhereAndWhen step={step} looking={looking} node={node} />
      {step && row.kind !== "MODEL" && <ValuePart title="Input" value={step.input} pointer="/input" />}
      {step && row.kind !== "MODEL" && <ValuePart title="Output" value={step.output} pointer="/output" />}
      {step?.prompt && <PromptView prompt={step.prompt} few answer={step.output} />}
      {!step && (row.given || row.gave) && <ValuePart title="In short" value={[row.given, row.gave].filter(Boolean).join(" → ")} />}
      <ValuePart title="Sources" value={step?.attempts.at(-1)?.details["sources"]} pointer={`/attempts/${(step?.attempts.length ?? 1) - 1}/details/sources`} />
      <AskedBy looking={looking} node={node} />
      <Part title="Next"><CommandLine command={showCommand(looking.session.id, row.number, null)} /></Part>
    </>
  );
}

function CommandLine({ command }: { command: string }) {
  return <div class="command"><code>{command}</code><button class="button" onClick={() => void copy(command, "the command")}>copy</button></div>;
}

function ErrorPart({ error, title }: { error: ErrorInFull; title: string }) {
  const causes = Array.isArray(error.causes) ? (error.causes as ErrorInFull[]) : [];
  return (
    <Part title={title} actions={<button onClick={() => void copy(errorText(error), "the error")}>copy</button>}>
      <div class="box error">
        <b>{seen(error.type)}</b>{error.message ? <>: <Cut text={error.message} pointer="/error/message" /></> : null}
        {error.code ? <span class="mute"> ({seen(error.code)})</span> : null}
        {error.raised_at && !error.stack ? <div class="mute">{seen(String(error.raised_at))}</div> : null}
        {error.stack ? <div class="mute"><Cut text={stackText(error.stack)} /></div> : null}
        {causes.map((one, at) => (
          <div key={at}><span class="mute">caused by </span>{seen(typeof one === "string" ? one : `${one.type}: ${one.message ?? ""}`)}</div>
        ))}
      </div>
    </Part>
  );
}

function stackText(stack: unknown): string {
  if (typeof stack === "string") return stack;
  return Array.isArray(stack) ? stack.map((one) => (typeof one === "string" ? one : asText(one))).join("\n") : asText(stack);
}

function errorText(error: ErrorInFull): string {
  return [`${error.type}: ${error.message ?? ""}`, error.raised_at, error.stack ? stackText(error.stack) : ""].filter(Boolean).join("\n");
}

/** What a step that runs has said so far, its cursor at the end. */
function Streaming({ looking, node, step }: { looking: Looking; node: TreeNode; step: StepInFull | null }) {
  const row = node.row!;
  looking.session.version.value;
  const live = looking.session.texts.get(row.key);
  const running = stateOf(row) === "running";
  const told = told_of(step);
  const text = live && live.start <= told.length ? told.slice(0, live.start) + live.text : (live?.text ?? (told || row.tail));
  const partly = !running && step?.output === null && text !== "";
  if ((!running && !partly) || (!text && row.kind !== "MODEL")) return null;
  return (
    <Part title={running ? "So far" : "Said before it stopped"} actions={<button onClick={() => void copy(text, "the text")}>copy</button>}>
      <div class="box prose">{live && live.start > told.length ? "… " : ""}<Cut text={text} />{running && <span class="cursor" />}</div>
    </Part>
  );
}

/** The text of a step's last attempt as its events tell it. */
function told_of(step: StepInFull | null): string {
  const events = step?.attempts.at(-1)?.events ?? [];
  return events
    .filter((one) => (one["event_type"] ?? one["type"]) === "CHUNK")
    .map((one) => String((one["details"] as { text?: unknown } | undefined)?.text ?? ""))
    .join("");
}

/** Of a tool the model call before it, which asked for it. */
function AskedBy({ looking, node }: { looking: Looking; node: TreeNode }) {
  const row = node.row!;
  if (row.kind !== "TOOL") return null;
  const { tree } = looking.session;
  const agent = tree.above(node).findLast((one) => one.row!.kind === "AGENT");
  const within = (one: Row) => !agent || tree.above(tree.nodes.get(one.key)!).includes(agent);
  const asker = tree.near(node, -1, (one) => one.kind === "MODEL" && one.began_ms <= row.began_ms && within(one));
  if (!asker || asker.row!.began_ms > row.began_ms) return null;
  const open = (detail: string | null) => {
    looking.goTo(asker);
    setQuery({ detail });
  };
  return (
    <Part title="The model call before" actions={<button onClick={() => open("prompt")}>its prompt</button>}>
      <p><button class="mid asker" onClick={() => open(null)}>#{asker.row!.number} {seen(asker.row!.name)} <span class="mute">{seen(asker.row!.gave)}</span></button></p>
    </Part>
  );
}
