import { differenceWords, MARKS } from "../model/comparison.ts";
import type { CompareRow } from "../model/comparison.ts";
import { kindClass } from "../model/rows.ts";
import type { StepPair } from "../model/wire_compare.ts";
import { plural, seen } from "../model/words.ts";

interface Props {
  readonly pair: StepPair;
  readonly line: number;
  readonly selected: boolean;
  readonly current: boolean;
  readonly onSelect: () => void;
}

/** One pair of steps. */
export function CompareLine({ pair, line, selected, current, onSelect }: Props) {
  const step = (pair.a ?? pair.b)!;
  const [sign, words] = MARKS[pair.state] ?? ["?", pair.state];
  return (
    <div class={`pair is-${pair.state}${pair.within ? " within" : ""}`} role="row" aria-level={pair.depth + 1} aria-rowindex={line + 1} aria-selected={selected} data-line={line} tabIndex={current ? 0 : -1} onClick={onSelect}>
      <span role="gridcell" class="num">{pair.a?.number ?? "–"}</span>
      <span role="gridcell" class="num">{pair.b?.number ?? "–"}</span>
      <span role="gridcell" class="sign" title={words}><span aria-hidden="true">{sign}</span><span class="hidden">{words}</span></span>
      <span role="gridcell" class="what" style={{ paddingLeft: `${Math.min(pair.depth, 16) * 14}px` }}>
        <span class={`dot ${kindClass(step.kind)}`} /> <b>{seen(step.name)}</b> <span class="mute">{step.kind.toLowerCase()}</span>
      </span>
      <span role="gridcell" class="differs">{seen(differenceWords(pair))}</span>
    </div>
  );
}

/** A fold of pairs that are the same. */
export function FoldLine({ row, line, onOpen }: { row: Extract<CompareRow, { kind: "fold" }>; line: number; current: boolean; onOpen: () => void }) {
  return (
    <div class="pair fold" role="row" aria-level={1} aria-rowindex={line + 1} aria-expanded={row.open} data-line={line} tabIndex={-1} onClick={onOpen}>
      <span role="gridcell">{row.open ? "▾" : "▸"} {row.pairs.toLocaleString("en")} identical {plural(row.pairs, "step").replace(/^\d+ /, "")}</span>
    </div>
  );
}
