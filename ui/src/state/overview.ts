// All sessions: the list and its panels, kept up to date while they are looked at.
//
// What is shown is named by the address: filters, the window (`since`), and within it what is zoomed to (`from`, `to`,
// milliseconds). The list is live by the server's stream; the panels are asked for again every few seconds.
import { batch, computed, effect, signal } from "@preact/signals";
import { filtersOf } from "../model/search.ts";
import type { SessionRow, Sessions } from "../model/wire.ts";
import type { Dashboard, Timeline } from "../model/wire_dashboard.ts";
import { go, inFile, place } from "./location.ts";
import { getJson, Refusal } from "./source.ts";
import type { Link } from "./stream.ts";
import { follow } from "./stream.ts";

const PAGE = 100;
const EVERY_MS = 5000;
const READING_MS = 800;
const EVENTS_MS = 5000;

export class Overview {
  readonly board = signal<Dashboard | null>(null);
  readonly timeline = signal<Timeline | null>(null);
  readonly rows = signal<readonly SessionRow[]>([]);
  readonly held = signal<readonly SessionRow[]>([]); // that came while the reader was further down
  readonly known = signal(false); // whether the list has been answered
  readonly more = signal(false);
  readonly refusal = signal<Refusal | null>(null);
  readonly link = signal<Link>("connecting");
  readonly delayed = signal<number | null>(null);
  readonly now = signal(Date.now());
  /** Set by the list: whether its first row is in sight. */
  readonly atTop = signal(true);

  private cursor: string | null = null;
  private loading = false;
  private asked: AbortController = new AbortController();
  private stops: (() => void)[] = [];

  readonly zoom = computed(() => zoomOf(place.value.query));
  readonly events = computed(() => place.value.query.get("view") === "events");
  private readonly key = computed(() => {
    const { query } = place.value;
    return [filtersOf(query), query.get("since"), query.get("from"), query.get("to")].join("&");
  });
  private readonly types = computed(() => place.value.query.getAll("type").join());

  open(): () => void {
    this.stops.push(
      effect(() => {
        this.key.value;
        this.restart();
      }),
      effect(() => {
        this.key.value;
        this.types.value;
        if (this.events.value) void this.readTimeline();
        else this.timeline.value = null;
      }),
    );
    const clock = setInterval(() => (this.now.value = Date.now()), 1000);
    const visible = () => !document.hidden && this.boardSoon(0);
    document.addEventListener("visibilitychange", visible);
    return () => {
      clearInterval(clock);
      document.removeEventListener("visibilitychange", visible);
      for (const stop of this.stops) stop();
      this.stop();
    };
  }

  /** Shows what was held back. */
  release(): void {
    batch(() => {
      this.rows.value = [...this.held.value, ...this.rows.value];
      this.held.value = [];
    });
  }

  /** Reads the next page of the list, where there is one. */
  async next(): Promise<void> {
    if (this.loading || !this.more.value || !this.cursor) return;
    await this.read(this.cursor);
  }

  /** The panels with so many rows; null where they could not be read. */
  async whole(rows: number, signal: AbortSignal): Promise<Dashboard | null> {
    const query = this.query();
    query.set("rows", String(rows));
    return getJson<Dashboard>(`/api/dashboard?${query}`, signal).catch(() => null);
  }

  // --- what is asked for ----------------------------------------------------------------------------------------

  /** What the panels are asked for; `listed`: as the list and its stream are. */
  private query(listed = false): URLSearchParams {
    const { query } = place.peek();
    const asked = filtersOf(query);
    const zoom = zoomOf(query);
    const since = query.get("since");
    if (zoom) {
      asked.set("since", new Date(zoom[0]).toISOString());
      asked.set(listed ? "begun" : "until", new Date(zoom[1]).toISOString());
    } else if (since) {
      asked.set("since", since);
    }
    return asked;
  }

  private stopStream: () => void = () => {};
  private timer: ReturnType<typeof setTimeout> | undefined;
  private eventsTimer: ReturnType<typeof setTimeout> | undefined;

  private stop(): void {
    this.asked.abort();
    this.stopStream();
    clearTimeout(this.timer);
    clearTimeout(this.eventsTimer);
  }

  private restart(): void {
    this.stop();
    this.asked = new AbortController();
    batch(() => {
      this.held.value = [];
      this.known.value = false;
      this.more.value = false;
      this.refusal.value = null;
    });
    this.cursor = null;
    this.loading = false;
    void this.read(null);
    void this.readBoard();
    if (inFile) return;
    const query = this.query(true);
    query.set("list", "1");
    this.stopStream = follow(`/api/stream?${query}`, {
      link: (state) => (this.link.value = state),
      message: (kind, data) => this.message(kind, data),
    });
  }

  private message(kind: string, data: unknown): void {
    if (kind === "session") this.take(data as SessionRow);
    else if (kind === "resync") this.restart();
    else if (kind === "delayed") this.delayed.value = Number((data as { delayed_s?: number })?.delayed_s ?? data) || null;
  }

  /** Takes in one session: in its place where it is known, else on top. */
  private take(row: SessionRow): void {
    const at = this.rows.peek().findIndex((one) => one.session_id === row.session_id);
    if (at >= 0) {
      const rows = [...this.rows.peek()];
      rows[at] = row;
      this.rows.value = rows;
    } else if (!isOf(row, place.peek().query)) {
      return;
    } else if (this.atTop.peek()) {
      this.rows.value = [row, ...this.rows.peek()];
    } else {
      this.held.value = [row, ...this.held.peek().filter((one) => one.session_id !== row.session_id)];
    }
  }

  private async read(cursor: string | null): Promise<void> {
    const { signal } = this.asked;
    const query = this.query(true);
    query.set("limit", String(PAGE));
    if (cursor) query.set("cursor", cursor);
    this.loading = true;
    try {
      const page = await getJson<Sessions>(`/api/sessions?${query}`, signal);
      if (signal.aborted) return;
      const had = cursor ? this.rows.peek() : [];
      const ids = new Set(had.map((one) => one.session_id));
      batch(() => {
        this.rows.value = [...had, ...page.sessions.filter((one) => !ids.has(one.session_id))];
        this.cursor = page.cursor;
        this.more.value = page.cursor !== null;
        this.cutToWindow();
        this.known.value = true;
        this.refusal.value = null;
      });
    } catch (error) {
      if (!signal.aborted) this.refusal.value = error instanceof Refusal ? error : new Refusal(0, String(error));
    }
    if (!signal.aborted) this.loading = false;
  }

  /** Where the server chose the window, the list ends where that does: it shows what the panels count. */
  private cutToWindow(): void {
    const { query } = place.peek();
    const since = this.board.peek()?.since_ms ?? null;
    if (since === null || query.has("since") || zoomOf(query)) return;
    const rows = this.rows.peek().filter((one) => one.updated_ms === null || one.updated_ms >= since || one.live);
    if (rows.length === this.rows.peek().length) return;
    this.rows.value = rows;
    this.more.value = false;
    this.cursor = null;
  }

  private boardSoon(after: number): void {
    clearTimeout(this.timer);
    if (!inFile) this.timer = setTimeout(() => void this.readBoard(), after);
  }

  private async readBoard(): Promise<void> {
    if (document.hidden && this.board.peek()) return;
    const { signal } = this.asked;
    try {
      const board = await getJson<Dashboard>(`/api/dashboard?${this.query()}`, signal);
      if (signal.aborted) return;
      batch(() => {
        this.board.value = board;
        this.cutToWindow();
      });
      this.boardSoon(board.reading ? READING_MS : EVERY_MS);
    } catch {
      if (!signal.aborted) this.boardSoon(EVERY_MS); // the list says what is wrong
    }
  }

  private async readTimeline(): Promise<void> {
    clearTimeout(this.eventsTimer);
    const { signal } = this.asked;
    const query = this.query();
    for (const type of place.peek().query.getAll("type")) query.append("type", type);
    try {
      const found = await getJson<Timeline>(`/api/timeline?${query}`, signal);
      if (signal.aborted || !this.events.peek()) return;
      this.timeline.value = found;
    } catch {
      // as above
    }
    if (!signal.aborted && !document.hidden) this.eventsTimer = setTimeout(() => void this.readTimeline(), EVENTS_MS);
  }
}

/** Whether a session that is new belongs into the list, beside what the server looked at; never by what it has not told. */
function isOf(row: SessionRow, query: URLSearchParams): boolean {
  const states = query.getAll("status");
  if (states.length && !states.includes(row.status) && !states.includes(row.reason ?? "")) return false;
  return !query.has("cause") && !query.has("tool") && !query.has("q") && !query.has("min_cost");
}

function zoomOf(query: URLSearchParams): readonly [number, number] | null {
  const from = Number(query.get("from") ?? NaN);
  const to = Number(query.get("to") ?? NaN);
  return Number.isFinite(from) && Number.isFinite(to) && from < to ? [from, to] : null;
}

/** The address of this list with these changes: null takes away, a list stands several times. */
export function listPath(changes: Readonly<Record<string, string | readonly string[] | null>>, path = "/"): string {
  const query = new URLSearchParams(place.peek().query);
  if (path !== place.peek().path) query.delete("view");
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of typeof value === "string" ? [value] : (value ?? [])) query.append(name, one);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Goes there. */
export function setList(changes: Readonly<Record<string, string | readonly string[] | null>>, replace = false): void {
  go(listPath(changes, place.peek().path), replace);
}
