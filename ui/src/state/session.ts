// A session that is looked at: its rows, kept up while it lives.
//
// Subscribes first and bootstraps then, so nothing falls between the two; rows are merged by key and revision, so nothing
// counts twice. What arrives is held until the next frame, and shown in one go.
import { batch, signal } from "@preact/signals";
import { Counts } from "../model/filter.ts";
import { Streamed } from "../model/streamed.ts";
import type { Wait } from "../model/tree.ts";
import { Tree } from "../model/tree.ts";
import type { Row, Rows, SessionRow, Text, Tree as TreeAnswer } from "../model/wire.ts";
import { rowOf } from "../model/wire.ts";
import { aboutFile } from "./exported.ts";
import { inFile } from "./location.ts";
import { getJson, Refusal } from "./source.ts";
import type { Link } from "./stream.ts";
import { follow } from "./stream.ts";

const TICK_MS = 200;

/** The time that it is; in an exported page the time that it was exported at. */
const exported = inFile ? aboutFile().exported_ms : null;
const clock = () => exported ?? Date.now();

export class Session {
  readonly id: string;
  readonly path: string;
  readonly tree = new Tree();
  readonly counts = new Counts();
  readonly texts = new Map<string, Streamed>();
  readonly about = signal<SessionRow | null>(null);
  readonly refusal = signal<Refusal | null>(null);
  readonly link = signal<Link>("connecting");
  readonly delayed = signal<number | null>(null);
  readonly truncated = signal(0);
  /** Grows once a frame in which the tree has changed. */
  readonly version = signal(0);
  /** The time by the clock of those who write, five times a second while something runs. */
  readonly now = signal(clock());
  readonly paused = signal(false);
  /** Rows that came while the page was paused. */
  readonly held = signal(0);
  readonly waits = signal<readonly Wait[]>([]);
  readonly critical = signal<ReadonlySet<string>>(new Set());
  private readonly pending = new Map<string, Row>();
  private changed = false;
  private ready = false;
  private frame = 0;
  private timer: ReturnType<typeof setInterval> | undefined;
  private latest = 0;
  private epoch = "";
  private stop: () => void = () => undefined;
  private readonly gone = new AbortController();

  constructor(id: string) {
    this.id = id;
    this.path = `/api/sessions/${encodeURIComponent(id)}`;
  }

  /** Begins; returns what ends it. */
  start(): () => void {
    this.stop = follow(`/api/stream?session=${encodeURIComponent(this.id)}`, {
      message: (kind, data) => this.hear(kind, data),
      link: (state) => {
        this.link.value = state;
        if (state === "live" && this.refusal.value) void this.bootstrap(); // it was not there as the page opened
      },
    });
    void this.bootstrap();
    this.timer = setInterval(() => this.tick(), TICK_MS);
    return () => {
      this.gone.abort();
      this.stop();
      clearInterval(this.timer);
      cancelAnimationFrame(this.frame);
    };
  }

  private async bootstrap(): Promise<void> {
    try {
      let from = "";
      const keys = new Set<string>();
      const before = this.epoch;
      for (;;) {
        const answer = await getJson<TreeAnswer>(`${this.path}/tree${from}`, this.gone.signal);
        this.enter(answer.at);
        this.takeTree(answer, keys);
        const last = answer.rows.at(-1);
        if (!answer.truncated || !last) break;
        from = `?from=${rowOf(last).number + 1}`;
      }
      if (before && before !== this.epoch) this.keepOnly(keys);
    } catch (error) {
      if (this.gone.signal.aborted) return;
      this.refusal.value = error instanceof Refusal ? error : new Refusal(0, String(error));
    }
  }

  /** Revisions count from anew where the server did: what it says then holds, whatever came before. */
  private enter(at: string): void {
    const epoch = at.split(".")[0]!;
    if (this.epoch && epoch !== this.epoch) {
      this.pending.clear();
      this.tree.forgetRevisions();
    }
    this.epoch = epoch;
  }

  private keepOnly(keys: ReadonlySet<string>): void {
    for (const key of [...this.tree.nodes.keys()]) if (!keys.has(key)) this.lose(key);
    this.later();
  }

  private takeTree(answer: TreeAnswer, keys: Set<string>): void {
    this.ready = true;
    for (const one of answer.rows) {
      const row = rowOf(one);
      keys.add(row.key);
      this.hold(row);
    }
    this.counts.setCritical(answer.critical);
    batch(() => {
      this.waits.value = answer.waits.map(([began, ended, what]) => ({ began, ended, what }));
      this.critical.value = new Set(answer.critical);
      this.refusal.value = null;
      this.about.value = answer.session;
      this.delayed.value = answer.delayed_s;
      this.truncated.value = answer.truncated;
    });
    this.flush();
    this.tree.setWaits(this.waits.value);
    this.version.value++;
  }

  private hear(kind: string, data: unknown): void {
    switch (kind) {
      case "session":
        this.hearSession(data as SessionRow);
        break;
      case "rows":
        for (const key of (data as Rows).gone) this.lose(key);
        for (const one of (data as Rows).rows) this.hold(rowOf(one));
        break;
      case "text":
        this.hearText(data as Text);
        break;
      case "resync":
        void this.bootstrap();
        break;
      case "delayed":
        this.delayed.value = (data as { delayed_s: number | null } | null)?.delayed_s ?? null;
        break;
    }
    this.later();
  }

  private hearSession(about: SessionRow): void {
    const before = this.about.value;
    this.about.value = about;
    // What it waited for, and its critical path, are known as it ends, and as it goes on.
    if (before && before.live !== about.live) void this.bootstrap();
  }

  private hearText({ key, attempt, offset, text }: Text): void {
    let streamed = this.texts.get(key);
    if (!streamed) this.texts.set(key, (streamed = new Streamed()));
    if (!streamed.take(attempt, offset, text)) return;
    this.changed = true;
    const row = this.pending.get(key) ?? this.tree.nodes.get(key)?.row;
    if (row) streamed.tail(row.tail); // as it was before this
  }

  private hold(row: Row): void {
    const waiting = this.pending.get(row.key);
    if (!waiting || waiting.revision < row.revision) this.pending.set(row.key, row);
    this.latest = Math.max(this.latest, row.began_ms, row.ended_ms ?? 0);
  }

  private lose(key: string): void {
    this.pending.delete(key);
    const row = this.tree.drop(key);
    if (!row) return;
    this.counts.drop(row);
    this.changed = true;
  }

  private later(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.frame = 0;
    if (!this.ready) return;
    if (this.paused.value) {
      this.held.value = this.pending.size;
      return;
    }
    if (this.pending.size === 0 && !this.changed) return;
    for (const row of this.pending.values()) this.takeRow(row);
    this.pending.clear();
    this.changed = false;
    batch(() => {
      this.held.value = 0;
      this.version.value++;
    });
  }

  private takeRow(row: Row): void {
    const old = this.tree.nodes.get(row.key)?.row ?? null;
    if (old && old.revision >= row.revision) return;
    this.counts.take(old, row);
    this.tree.take([row]);
    if (row.status !== "running") this.texts.delete(row.key);
  }

  setPaused(paused: boolean): void {
    this.paused.value = paused;
    if (!paused) this.flush();
  }

  /** Whether it may still change by itself. */
  get live(): boolean {
    return this.about.value?.live ?? false;
  }

  private tick(): void {
    if (this.paused.peek() || (!this.about.peek()?.live && this.tree.root.sums.running === 0)) return;
    this.now.value = Math.max(clock(), this.latest);
  }

  /** The text that a step streams, as far as it is known here. */
  streamed(row: Row): string {
    return this.texts.get(row.key)?.tail(row.tail) || row.tail;
  }
}
