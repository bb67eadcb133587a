// Written by scripts/generate_ui_types.py from server/wire.py: change that, and run it.

/**
 * A session in a list, and above its tree.
 *
 * `doing`: in a few words what runs in it now: "researcher is thinking…", "3 tools
 * running"; what other processes do for the session is part of it. `last`: the last line worth reading: an answer, a
 * question, an error. `forked_from` as in `status`. `live`: whether it may still change by itself.
 */
export interface SessionRow {
  readonly session_id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly agent: string | null;
  readonly stage: string | null;
  readonly progress: number | null;
  readonly live: boolean;
  readonly doing: string | null;
  readonly last: string | null;
  readonly steps: number;
  readonly errors: number;
  readonly events: number;
  readonly input_tokens: number | null;
  readonly output_tokens: number | null;
  readonly cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly began_ms: number | null;
  readonly updated_ms: number | null;
  readonly ended_ms: number | null;
  readonly seen_ms: number | null;
  readonly user: string | null;
  readonly tenant: string | null;
  readonly tags: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly process: string | null;
  readonly forked_from: string | null;
  readonly forks: readonly string[];
}

/**
 * A page of a list, newest first. `cursor` asks for the next one; null where there is none.
 *
 * `counts`: of the latest thousand that the filters but for `status` leave, how many have each status.
 */
export interface Sessions {
  readonly sessions: readonly SessionRow[];
  readonly cursor: string | null;
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * A row of a session's tree: a step at one place, with the attempts made there. An array on the wire.
 *
 * `key` names it for good; `parent` is the key of the row above. `number` is that of `SESSION/N`. `attempts`: of each
 * begin and end (null while it runs) in milliseconds, and its outcome. `errors` are those that began in it.
 * `cost_usd` is its own. `given`, `gave`: what went in and came out, in a few words; `tail`: of a running step the end
 * of the text that it streams. `revision` grows with each change, over all rows of a session.
 */
export interface Row {
  readonly key: string;
  readonly parent: string | null;
  readonly step_id: string;
  readonly number: number;
  readonly kind: string;
  readonly name: string;
  readonly status: string;
  readonly reason: string | null;
  readonly began_ms: number;
  readonly ended_ms: number | null;
  readonly seen_ms: number | null;
  readonly worked_ms: number | null;
  readonly waited_ms: number;
  readonly attempts: readonly (readonly [number, number | null, string | null])[];
  readonly errors: number;
  readonly warnings: number;
  readonly input_tokens: number | null;
  readonly output_tokens: number | null;
  readonly cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly error: string | null;
  readonly given: string;
  readonly gave: string;
  readonly tail: string;
  readonly orphan: boolean;
  readonly revision: number;
}

export type RowArray = readonly [
  key: string,
  parent: string | null,
  step_id: string,
  number: number,
  kind: string,
  name: string,
  status: string,
  reason: string | null,
  began_ms: number,
  ended_ms: number | null,
  seen_ms: number | null,
  worked_ms: number | null,
  waited_ms: number,
  attempts: readonly (readonly [number, number | null, string | null])[],
  errors: number,
  warnings: number,
  input_tokens: number | null,
  output_tokens: number | null,
  cost_usd: number | null,
  unpriced_calls: number,
  error: string | null,
  given: string,
  gave: string,
  tail: string,
  orphan: boolean,
  revision: number,
];

export function rowOf(a: RowArray): Row {
  return {
    key: a[0],
    parent: a[1],
    step_id: a[2],
    number: a[3],
    kind: a[4],
    name: a[5],
    status: a[6],
    reason: a[7],
    began_ms: a[8],
    ended_ms: a[9],
    seen_ms: a[10],
    worked_ms: a[11],
    waited_ms: a[12],
    attempts: a[13],
    errors: a[14],
    warnings: a[15],
    input_tokens: a[16],
    output_tokens: a[17],
    cost_usd: a[18],
    unpriced_calls: a[19],
    error: a[20],
    given: a[21],
    gave: a[22],
    tail: a[23],
    orphan: a[24],
    revision: a[25],
  };
}

/**
 * A session with all its rows, in order of their start. `at` is what `/api/stream?after=` goes on from.
 *
 * `waits`: stretches in which nobody worked, begin and end in milliseconds, and for what. `critical`: keys of the
 * rows on the critical path. `truncated`: how many rows there are behind these: `?from=N` gives those from number N.
 * `delayed_s`: how far behind the store may be, where it cannot be live.
 */
export interface Tree {
  readonly session: SessionRow;
  readonly rows: readonly RowArray[];
  readonly at: string;
  readonly waits: readonly (readonly [number, number, string])[];
  readonly critical: readonly string[];
  readonly truncated: number;
  readonly delayed_s: number | null;
}

/**
 * The message `rows` of a stream: rows that are new or changed, each whole. Taking one twice does no harm.
 *
 * `gone`: keys of rows that are no more, as where a late event shows that a step is another one's; taken out first.
 */
export interface Rows {
  readonly session_id: string;
  readonly rows: readonly RowArray[];
  readonly gone: readonly string[];
}

/**
 * The message `resync`: something was left out. Fetch the session's tree anew; where it is null, the list.
 */
export interface Resync {
  readonly session_id: string | null;
}

/**
 * The message `delayed`: how far what is shown may be behind; null once it is live again. `why` is for people.
 */
export interface Delayed {
  readonly delayed_s: number | null;
  readonly why: string | null;
}

/**
 * The message `text`: what a step streamed on. `offset` is in UTF-16 units from the attempt's first character.
 *
 * `attempt` is the ordinal that `/steps/{step}` gives. Where the offset is not what one has, a piece is missing: fetch
 * the step anew.
 */
export interface Text {
  readonly session_id: string;
  readonly key: string;
  readonly attempt: number;
  readonly offset: number;
  readonly text: string;
}

/**
 * What an exported page says of itself: see `server/one_file.py`.
 */
export interface File {
  readonly version: number;
  readonly session_id: string;
  readonly exported_ms: number;
}

/**
 * An error as RFC 9457 has it, `application/problem+json`. `detail` says what, why and what next.
 */
export interface Problem {
  readonly type?: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string | null;
  readonly errors?: readonly (Readonly<Record<string, unknown>>)[];
}
