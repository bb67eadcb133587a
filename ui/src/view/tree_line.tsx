import { isShell, kindClass, stateOf, tokensOf } from "../model/rows.ts";
import type { Line } from "../model/tree.ts";
import type { Row } from "../model/wire.ts";
import { count, duration, money, seen } from "../model/words.ts";
import type { BarsShown } from "./bar.tsx";
import { Bar } from "./bar.tsx";
import { StateIcon } from "./icons.tsx";

export interface LineProps {
  readonly line: Line;
  readonly at: number;
  readonly selected: boolean;
  readonly open: boolean;
  readonly tail: string;
  readonly bars: BarsShown;
}

/** One line of the tree: a step, a fold of steps alike, or a wait. */
export function TreeLine({ line, at, selected, open, tail, bars }: LineProps) {
  const { node, wait } = line;
  if (wait) return <WaitLine what={wait.what} ms={wait.ended - wait.began} at={at} />;
  const row = node.first;
  const has = node.children.length > 0;
  const beside = bars.filtered && !node.taken ? " beside" : "";
  return (
    <div
      role="row"
      id={`row-${node.key}`}
      class={`row ${kindClass(row.kind)}${at % 2 ? " odd" : ""}${beside}`}
      style={{ "--d": node.depth }}
      aria-level={node.depth + 1}
      aria-rowindex={at + 2}
      aria-selected={selected}
      {...(has ? { "aria-expanded": open } : {})}
      {...(node.row ? { "data-step-id": row.step_id } : {})}
      data-key={node.key}
      tabIndex={selected ? 0 : -1}
    >
      <div role="gridcell" class="n">
        {node.row ? row.number : ""}
      </div>
      <div role="gridcell" class="name">
        <span class={`chevron${open ? " open" : ""}${has ? "" : " none"}`} aria-hidden="true" />
        {node.isFold ? <FoldName line={line} /> : <StepName line={line} bars={bars} tail={tail} open={open} />}
      </div>
      <div role="gridcell" class="num">
        {numberOf(line, bars)}
      </div>
      <div role="gridcell" class="bar">
        <Bar node={node} bars={bars} />
      </div>
    </div>
  );
}

function StepName({ line, bars, tail, open }: { line: Line; bars: BarsShown; tail: string; open: boolean }) {
  const { node } = line;
  const row = node.row!;
  const state = stateOf(row, bars.playedAt);
  const below = node.sums.errors - row.errors;
  return (
    <>
      <StateIcon state={state} />
      <span class="dot" title={row.kind.toLowerCase()} />
      <span class="label">{seen(row.name)}</span>
      {row.attempts.length > 1 && <span class={`badge${row.errors ? " error" : ""}`}>×{row.attempts.length}</span>}
      {below > 0 && <span class="badge error" title="errors below">{below} ✗</span>}
      {row.warnings > 0 && <span class="badge warn" title="warnings">⚠ {row.warnings > 1 ? row.warnings : ""}</span>}
      {row.orphan && <span class="badge" title="its parent is not in the journal">no parent</span>}
      {!open && node.children.length > 0 && <span class="badge">{node.sums.rows - 1}</span>}
      {state === "running" && tail ? (
        <>
          <span class="tail"><bdi>{seen(tail)}</bdi></span>
          <span class="cursor" />
        </>
      ) : (
        <What row={row} />
      )}
    </>
  );
}

function What({ row }: { row: Row }) {
  const state = stateOf(row);
  if (row.error && (state === "error" || row.errors > 0) && (state === "error" || !row.gave)) {
    return <span class={`what${state === "error" ? " failed" : ""}`}>{seen(row.error)}</span>;
  }
  const text = row.kind === "MODEL" ? row.gave || row.given : row.given && row.gave ? `${row.given} → ${row.gave}` : row.given || row.gave;
  return <span class="what">{seen(text)}</span>;
}

function FoldName({ line }: { line: Line }) {
  const { node } = line;
  const { running, errors, rows } = node.sums;
  const said = [running ? `${running} running` : "", errors ? `${errors} with errors` : "", rows > node.children.length ? `${rows} steps` : ""];
  return (
    <>
      <StateIcon state={running ? "running" : "ok"} />
      <span class="dot" />
      <span class="label">{seen(node.first.name)}</span>
      <span class="badge">×{node.children.length}</span>
      <span class="what">{said.filter(Boolean).join(" · ")}</span>
    </>
  );
}

function WaitLine({ what, ms, at }: { what: string; ms: number; at: number }) {
  return (
    <div role="row" class="fold-line" aria-rowindex={at + 2}>
      <span role="gridcell">⋯ {duration(ms)} waiting{what ? ` for ${seen(what)}` : ""}</span>
    </div>
  );
}

/** What the column of numbers says of a line: of a shell and a fold the sum of what is below. */
function numberOf({ node }: Line, bars: BarsShown): string {
  const own = node.row && !isShell(node.row) && node.children.length === 0;
  if (bars.basis === "cost") {
    const cost = own ? node.row!.cost_usd : node.sums.cost;
    const unpriced = own ? node.row!.unpriced_calls : node.sums.unpriced;
    return cost === null && unpriced === 0 ? "" : money(cost, unpriced);
  }
  const tokens = own ? tokensOf(node.row!) : node.sums.tokens;
  return tokens === null ? (node.row?.kind === "MODEL" && node.row.status !== "running" ? "—" : "") : count(tokens);
}
