// The step that is looked at, in full: fetched when it is, and again as it changes.
import { effect, signal, untracked } from "@preact/signals";
import type { Looking } from "./looking.ts";
import { getJson, Refusal, source } from "./source.ts";

/** A step as `show SESSION/STEP -o json` prints it: see docs/json.md. */
export interface StepInFull {
  readonly [name: string]: unknown;
  readonly number: number;
  readonly attempts: readonly AttemptInFull[];
  readonly error: ErrorInFull | null;
  readonly above: readonly { number: number; step_id: string; kind: string; name: string }[];
  readonly process: Readonly<Record<string, unknown>> | null;
  readonly input: unknown;
  readonly output: unknown;
  readonly prompt: Prompt | null;
  readonly effects: string | null;
  readonly started_at: string;
  readonly writer: string | null;
  readonly trace_id: string | null;
  readonly span_id: string | null;
  /** What is not whole in this answer: where it stands, as a JSON pointer, and how long it is. */
  readonly cut?: readonly { readonly pointer: string; readonly length: number | null; readonly unit: string }[];
}

/** What an answer left out, by where it stands. */
export interface Rest {
  readonly cut: ReadonlyMap<string, number>;
  load(pointer: string, from: number): Promise<string>;
}

/** The rest of a step's answer. */
export function restOf(path: string, step: StepInFull): Rest {
  const texts = (step.cut ?? []).filter((one) => one.unit === "characters" && one.length !== null);
  const id = encodeURIComponent(String(step["step_id"]));
  return {
    cut: new Map(texts.map((one) => [one.pointer, one.length!])),
    load: (pointer, from) => source.text(`${path}/steps/${id}/value?pointer=${encodeURIComponent(pointer)}&from=${from}`),
  };
}

export interface AttemptInFull {
  readonly ordinal: number;
  readonly outcome: string | null;
  readonly reason: string | null;
  readonly duration_ms: number | null;
  readonly started_at: string;
  readonly error: ErrorInFull | null;
  readonly usage: Readonly<Record<string, number>> | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly events: readonly Readonly<Record<string, unknown>>[];
}

export interface ErrorInFull {
  readonly type: string;
  readonly message?: string;
  readonly code?: string | null;
  readonly raised_at?: string;
  readonly stack?: unknown;
  readonly causes?: unknown;
  readonly passed_through?: unknown;
}

export interface Prompt {
  readonly model?: string | null;
  readonly messages?: readonly Message[];
  readonly tools?: readonly unknown[];
  readonly params?: Readonly<Record<string, unknown>>;
  readonly complete?: boolean;
  readonly why?: string;
  readonly trimmed?: unknown;
}

export interface Message {
  readonly role?: string;
  readonly content?: unknown;
  readonly name?: string;
  readonly author?: string | null;
  readonly reasoning?: unknown;
  readonly tool_calls?: readonly { name?: string; args?: unknown; arguments?: unknown; id?: string }[] | null;
  readonly tool_call_id?: string | null;
}

const SETTLE_MS = 60; // who runs through the rows with a key held down fetches only where they stop
const AGAIN_MS = 1000; // a step that changes all the time is fetched once a second

export class Detail {
  readonly step = signal<StepInFull | null>(null);
  readonly refusal = signal<Refusal | null>(null);
  readonly key = signal<string | null>(null);
  private shown = "";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking: AbortController | null = null;
  private askedAt = 0;

  start(looking: Looking): () => void {
    const stop = effect(() => {
      looking.session.version.value;
      const node = looking.node.value;
      const open = looking.detailOpen.value;
      const row = node?.row;
      if (!row || !open) return;
      const wanted = `${row.key}\n${row.revision}`;
      untracked(() => {
        if (wanted === this.shown) return;
        const other = row.key !== this.key.value;
        this.shown = wanted;
        if (other) {
          this.key.value = row.key;
          this.step.value = null;
          this.refusal.value = null;
        }
        const wait = other ? SETTLE_MS : Math.max(SETTLE_MS, this.askedAt + AGAIN_MS - performance.now());
        clearTimeout(this.timer);
        this.timer = setTimeout(() => void this.ask(looking.session.path, row.step_id), wait);
      });
    });
    return () => {
      stop();
      clearTimeout(this.timer);
      this.asking?.abort();
    };
  }

  private async ask(path: string, step: string): Promise<void> {
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.askedAt = performance.now();
    try {
      const answer = await getJson<StepInFull>(`${path}/steps/${encodeURIComponent(step)}`, signal);
      if (!signal.aborted) this.step.value = answer;
    } catch (error) {
      if (!signal.aborted) this.refusal.value = error instanceof Refusal ? error : new Refusal(0, String(error));
    }
  }
}
