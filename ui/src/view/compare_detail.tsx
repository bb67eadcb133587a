import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { apart, fieldsOf, MARKS, valueText } from "../model/comparison.ts";
import { kindClass } from "../model/rows.ts";
import type { Comparison, StepDifference, StepPair } from "../model/wire_compare.ts";
import { seen } from "../model/words.ts";
import { href, sessionPath } from "../state/location.ts";
import { getJson } from "../state/source.ts";

/** What one pair of steps differs in, field by field. */
export function CompareDetail({ comparison, pair }: { comparison: Comparison; pair: StepPair }) {
  const found = useSignal<StepDifference | null>(null);
  const failed = useSignal("");
  const [a, b] = [comparison.a.session_id, comparison.b.session_id];
  useEffect(() => {
    found.value = null;
    failed.value = "";
    if (pair.state !== "changed" || !pair.a || !pair.b) return;
    const asking = new AbortController();
    const query = new URLSearchParams({ a, b, a_step: pair.a.step_id, b_step: pair.b.step_id });
    getJson<StepDifference>(`/api/compare/step?${query}`, asking.signal).then(
      (one) => (found.value = one),
      (error: Error) => !asking.signal.aborted && (failed.value = error.message),
    );
    return () => asking.abort();
  }, [pair]);
  const step = (pair.a ?? pair.b)!;
  return (
    <section class="detail comparison" aria-label="What differs" tabIndex={0}>
      <h2><span class={`dot ${kindClass(step.kind)}`} /> {seen(step.name)} <span class="badge">{MARKS[pair.state]?.[1]}</span></h2>
      <p class="mute">
        {pair.a && <a href={href(`${sessionPath(a)}?${new URLSearchParams({ step: pair.a.step_id })}`)}>open in A</a>}{" "}
        {pair.b && <a href={href(`${sessionPath(b)}?${new URLSearchParams({ step: pair.b.step_id })}`)}>open in B</a>}
      </p>
      {pair.within && <p class="mute">It differs only as something beneath it does.</p>}
      <table class="all">
        <thead><tr><th><span class="hidden">Field</span></th><th>A</th><th>B</th></tr></thead>
        <tbody>
          {fieldsOf(pair).filter(([, one, two]) => one !== "—" || two !== "—").map(([name, one, two, differs]) => (
            <tr key={name} class={differs ? "differs" : ""}><th scope="row">{name}</th><td>{seen(one)}</td><td>{seen(two)}</td></tr>
          ))}
        </tbody>
      </table>
      {found.value?.fields.map((field) => <Field key={field.name} name={field.name + field.at} a={valueText(field.a)} b={valueText(field.b)} />)}
      {pair.state === "changed" && !found.value && <p class="mute" role="status">{failed.value || "Reading what it was given and gave…"}</p>}
    </section>
  );
}

function Field({ name, a, b }: { name: string; a: string; b: string }) {
  const [before, inA, inB, behind] = apart(a, b);
  return (
    <section class="differing">
      <h3>{seen(name)}</h3>
      <pre class="in-a" aria-label="in A">{seen(before)}<del>{seen(inA)}</del>{seen(behind)}</pre>
      <pre class="in-b" aria-label="in B">{seen(before)}<ins>{seen(inB)}</ins>{seen(behind)}</pre>
    </section>
  );
}
