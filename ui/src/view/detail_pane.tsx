import "./detail.css";
import { kindClass, stateOf, STATE_WORDS, workedOf } from "../model/rows.ts";
import type { TreeNode } from "../model/tree.ts";
import { duration, seen } from "../model/words.ts";
import type { Detail, StepInFull } from "../state/detail.ts";
import { restOf } from "../state/detail.ts";
import { setQuery } from "../state/location.ts";
import { detailShare, setDetailShare } from "../state/prefs.ts";
import type { Looking } from "../state/looking.ts";
import { RestOf } from "./cut.tsx";
import { Divider } from "./divider.tsx";
import { JsonView } from "./json_view.tsx";
import { Overview } from "./overview.tsx";
import { ValuePart } from "./part.tsx";
import { onTabKey } from "./pills.tsx";
import { PromptView } from "./prompt_view.tsx";
import { StateAt } from "./state_tab.tsx";
import { StepEvents } from "./step_events.tsx";

/** The step that is looked at. */
export function DetailPane({ looking, detail }: { looking: Looking; detail: Detail }) {
  const node = looking.node.value!;
  const row = node.first;
  const state = stateOf(row, looking.playedAt.value === null ? Infinity : (looking.session.about.value?.began_ms ?? 0) + looking.playedAt.value);
  looking.session.version.value;
  const bad = state === "error" ? " error" : state === "killed" || state === "lost" || state === "awaiting" ? " warn" : "";
  return (
    <aside class={`detail ${kindClass(row.kind)}`} aria-label="Step">
      <div>
        <Crumbs node={node} looking={looking} />
        <div class="head">
          <span class="dot" />
          <h2>{seen(row.name)}</h2>
          {node.isFold ? <span class="badge">×{node.children.length}</span> : <span class="badge">#{row.number}</span>}
          {!node.isFold && state !== "ok" && <span class={`badge${bad}`}>{STATE_WORDS[state]}{row.attempts.length > 1 ? ` · attempt ${row.attempts.length}` : ""}</span>}
          <span class="took">{duration(workedOf(row, looking.session.now.value))}</span>
          <button class="close" aria-label="Close details" title="Close (d)" onClick={() => (looking.detailOpen.value = false)}>✕</button>
        </div>
      </div>
      <Divider label="Width of the details" value={detailShare.value} least={20} most={60} rightIsMore={false} at={(x) => ((innerWidth - x) / innerWidth) * 100} onChange={setDetailShare} />
      {node.isFold ? <FoldBody node={node} /> : <StepBody looking={looking} detail={detail} node={node} />}
    </aside>
  );
}

function Crumbs({ node, looking }: { node: TreeNode; looking: Looking }) {
  return (
    <nav class="crumbs" aria-label="Steps above">
      {looking.session.tree.above(node).map((one) => (
        <span key={one.key}><button onClick={() => looking.goTo(one)}>{seen(one.row!.name)}</button> › </span>
      ))}
      {seen(node.first.name)}
    </nav>
  );
}

function FoldBody({ node }: { node: TreeNode }) {
  const durations = node.children.map((one) => one.row!.worked_ms).filter((one) => one !== null).sort((a, b) => a - b);
  return (
    <>
      <div />
      <div class="body">
        <section class="part">
          <dl>
            <dt>steps</dt><dd>{node.children.length} of one name, side by side</dd>
            <dt>shortest</dt><dd>{duration(durations[0])}</dd>
            <dt>median</dt><dd>{duration(durations[durations.length >> 1])}</dd>
            <dt>longest</dt><dd>{duration(durations.at(-1))}</dd>
            <dt>errors</dt><dd>{node.sums.errors}</dd>
          </dl>
        </section>
        <p class="mute">Enter opens the fold.</p>
      </div>
    </>
  );
}

type SubTab = readonly [id: string, title: string, count?: number];

function tabsOf(step: StepInFull | null, failed: boolean): SubTab[] {
  const events = step?.attempts.reduce((sum, one) => sum + one.events.length, 0) ?? 0;
  const tabs: SubTab[] = [["overview", failed ? "Error" : "Step"]];
  if (!step) return tabs;
  if (step.input !== null) tabs.push(["input", "Input"]);
  if (step.output !== null) tabs.push(["output", "Output"]);
  if (step.prompt) tabs.push(["prompt", "Prompt"]);
  return [...tabs, ["state", "State"], ["events", "Events", events], ["raw", "Raw"]];
}

function StepBody({ looking, detail, node }: { looking: Looking; detail: Detail; node: TreeNode }) {
  const row = node.row!;
  const step = detail.key.value === row.key ? detail.step.value : null;
  const tabs = tabsOf(step, row.status === "error");
  const chosen = tabs.some(([id]) => id === looking.detailTab.value) ? looking.detailTab.value! : "overview";
  return (
    <>
      <div class="subtabs" role="tablist" aria-label="Of the step" onKeyDown={onTabKey}>
        {tabs.map(([id, title, many]) => (
          <button key={id} role="tab" id={`tab-${id}`} aria-selected={id === chosen} aria-controls="step-body" tabIndex={id === chosen ? 0 : -1} onClick={() => setQuery({ detail: id === "overview" ? null : id })}>
            {title} {many ? <small>{many}</small> : null}
          </button>
        ))}
      </div>
      <div class="body" id="step-body" role="tabpanel" aria-labelledby={`tab-${chosen}`} tabIndex={0}>
        {detail.refusal.value && detail.key.value === row.key && <p role="alert">{detail.refusal.value.message}</p>}
        <RestOf.Provider value={step && restOf(looking.session.path, step)}>
          <Body key={`${row.key}:${chosen}`} chosen={chosen} step={step} looking={looking} node={node} />
        </RestOf.Provider>
      </div>
    </>
  );
}

function Body({ chosen, step, looking, node }: { chosen: string; step: StepInFull | null; looking: Looking; node: TreeNode }) {
  if (chosen === "overview" || !step) return <Overview step={step} looking={looking} node={node} />;
  switch (chosen) {
    case "input":
      return <ValuePart title="Input" value={step.input} pointer="/input" />;
    case "output":
      return <ValuePart title="Output" value={step.output} pointer="/output" />;
    case "prompt":
      return <PromptView prompt={step.prompt!} />;
    case "state":
      return <StateAt looking={looking} number={step.number} />;
    case "events":
      return <StepEvents step={step} />;
    default:
      return <JsonView value={step} pointer="" />;
  }
}
