// Written by scripts/generate_ui_types.py from server/wire_compare.py: change that, and run it.

/**
 * One of the two sessions, and what it took.
 */
export interface Side {
  readonly session_id: string;
  readonly status: string;
  readonly agent: string | null;
  readonly steps: number;
  readonly worked_ms: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
}

/**
 * A step on one side.
 */
export interface SideStep {
  readonly step_id: string;
  readonly number: number;
  readonly kind: string;
  readonly name: string;
  readonly status: string;
  readonly attempts: number;
  readonly worked_ms: number | null;
  readonly input_tokens: number | null;
  readonly output_tokens: number | null;
  readonly error: string | null;
}

/**
 * A step of either session, or of both: `state` and `differs` as in `agent-journal diff`.
 *
 * `depth` below a root. `within`: it is changed only as something beneath it is.
 */
export interface StepPair {
  readonly state: string;
  readonly differs: readonly string[];
  readonly depth: number;
  readonly within: boolean;
  readonly a: SideStep | null;
  readonly b: SideStep | null;
}

/**
 * Two sessions on one column of steps, a fork behind what it was forked from.
 *
 * `shared`: steps of `a` that a fork has in common with it, which are not among `pairs`; null where it is no fork.
 * `totals`: how many pairs have each state. `first`: the place in `pairs` of the first difference, null where there is
 * none. `more`: pairs that are left out of a very long comparison.
 */
export interface Comparison {
  readonly a: Side;
  readonly b: Side;
  readonly shared: number | null;
  readonly totals: Readonly<Record<string, number>>;
  readonly first: number | null;
  readonly pairs: readonly StepPair[];
  readonly more: number;
}

/**
 * Where a field of two steps differs first, as a JSON pointer, and what each side has there, long texts cut.
 */
export interface FieldDifference {
  readonly name: string;
  readonly at: string;
  readonly a: unknown;
  readonly b: unknown;
}

/**
 * What the content of one pair of steps differs in, field by field.
 */
export interface StepDifference {
  readonly fields: readonly FieldDifference[];
}
