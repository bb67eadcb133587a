// Written by scripts/generate_ui_types.py from server/wire_dashboard.py: change that, and run it.

/**
 * What the sessions of a window amount to.
 *
 * `p50_ms`, `p95_ms`: how long those took that have ended. `cost_usd` is what is known; `unpriced_calls` cost more.
 */
export interface Totals {
  readonly sessions: number;
  readonly running: number;
  readonly failed: number;
  readonly events: number;
  readonly steps: number;
  readonly errors: number;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly sql: string;
}

/**
 * How many sessions are in a state, for a reason.
 */
export interface StateCount {
  readonly status: string;
  readonly reason: string | null;
  readonly sessions: number;
}

/**
 * Sessions by state: those that all filters but the one of the state leave.
 */
export interface States {
  readonly rows: readonly StateCount[];
  readonly sql: string;
}

/**
 * What the sessions of one agent, user or tag amount to; `name` is null of those that say none.
 *
 * `began`: how many began in each of the window's parts, the first at `Dashboard.began_ms`.
 */
export interface Share {
  readonly name: string | null;
  readonly sessions: number;
  readonly running: number;
  readonly failed: number;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly tokens: number;
  readonly cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly began: readonly number[];
}

/**
 * Sessions by agent, user or tag, the most first. `count`: how many names there are, shown or not.
 */
export interface Shares {
  readonly rows: readonly Share[];
  readonly count: number;
  readonly sql: string;
}

/**
 * Errors of one cause that began in steps of one name, or sessions whose process is gone.
 */
export interface Cause {
  readonly cause: string;
  readonly name: string;
  readonly errors: number;
  readonly sessions: number;
}

/**
 * Errors by cause, the most frequent first. `count`: how many causes there are, shown or not.
 */
export interface Causes {
  readonly rows: readonly Cause[];
  readonly count: number;
  readonly sql: string;
}

/**
 * The calls of one tool that ended.
 */
export interface ToolTime {
  readonly name: string;
  readonly calls: number;
  readonly failed: number;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
}

/**
 * Tools, the slowest first. `count`: how many were used, shown or not.
 */
export interface ToolTimes {
  readonly rows: readonly ToolTime[];
  readonly count: number;
  readonly sql: string;
}

/**
 * Events of one type: how many, and of each part of the time that has any its number and how many.
 */
export interface Lane {
  readonly type: string;
  readonly events: number;
  readonly points: readonly (readonly [number, number])[];
}

/**
 * Events by type over a time. Part `n` of it begins at `from_ms + n * width_ms`; `from_ms` is 0 without events.
 */
export interface Lanes {
  readonly rows: readonly Lane[];
  readonly from_ms: number;
  readonly until_ms: number;
  readonly width_ms: number;
  readonly sql: string;
}

/**
 * An alert that fires. `session_id` is that which it is about, where it is about one.
 */
export interface AlertRow {
  readonly rule: string;
  readonly severity: string;
  readonly summary: string;
  readonly began_ms: number;
  readonly session_id: string | null;
}

/**
 * The panels. `window`: what was asked for as `since`, or what was chosen: 24h, 7d, 30d, all.
 *
 * Sessions count that were updated since `since_ms`, events since `events_since_ms`: later where there are more than
 * were read by now. `reading`: there will be more of them in a moment. `alerts` fire now, whatever was asked for.
 */
export interface Dashboard {
  readonly at_ms: number;
  readonly window: string;
  readonly since_ms: number | null;
  readonly until_ms: number | null;
  readonly events_since_ms: number | null;
  readonly reading: boolean;
  readonly totals: Totals;
  readonly states: States;
  readonly agents: Shares;
  readonly users: Shares;
  readonly tags: Shares;
  readonly began_ms: number;
  readonly began_width_ms: number;
  readonly alerts: readonly AlertRow[];
  readonly causes: Causes;
  readonly tools: ToolTimes;
  readonly lanes: Lanes;
}

/**
 * One event in the timeline's table. `text`: the first words of what it says.
 */
export interface EventRow {
  readonly at_ms: number;
  readonly session_id: string;
  readonly event_id: string;
  readonly type: string;
  readonly level: string;
  readonly name: string | null;
  readonly step_id: string | null;
  readonly outcome: string | null;
  readonly took_ms: number | null;
  readonly text: string;
}

/**
 * Events by type in a time, and the latest of them one by one. `more`: how many are not shown.
 */
export interface Timeline {
  readonly lanes: Lanes;
  readonly events: readonly EventRow[];
  readonly more: number;
  readonly events_since_ms: number | null;
  readonly reading: boolean;
  readonly sql: string;
}
