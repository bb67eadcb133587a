// What of a session is looked at: the selected step, tab, filter, zoom, basis. All of it is in the address.
import { computed, effect, signal, untracked } from "@preact/signals";
import { isPill, filterOf } from "../model/filter.ts";
import type { TreeNode } from "../model/tree.ts";
import { queryOf, setQuery } from "./location.ts";
import type { Session } from "./session.ts";

export const TABS = ["steps", "conversation", "events", "state"] as const;
export type Tab = (typeof TABS)[number];
export const BASES = ["time", "tokens", "cost"] as const;
export type Basis = (typeof BASES)[number];

const step = queryOf("step");
const tab = queryOf("tab");
const pillName = queryOf("show");
const typed = queryOf("q");
const zoomed = queryOf("zoom");
const bars = queryOf("bars");
const played = queryOf("at");
const detailName = queryOf("detail");

export class Looking {
  readonly session: Session;
  /** The line that the keyboard is at: a step, or a fold. */
  readonly node = signal<TreeNode | null>(null);
  readonly tab = computed<Tab>(() => TABS.find((one) => one === tab.value) ?? "steps");
  readonly pill = computed(() => (isPill(pillName.value) ? pillName.value : null));
  readonly typed = computed(() => typed.value ?? "");
  readonly basis = computed<Basis>(() => BASES.find((one) => one === bars.value) ?? "time");
  /** From and to, in milliseconds since the session began. */
  readonly zoom = computed(() => {
    const parts = (zoomed.value ?? "").split("-").map(Number);
    return parts.length === 2 && parts[1]! > parts[0]! ? ([parts[0]!, parts[1]!] as const) : null;
  });
  /** The moment that is played, in milliseconds since the session began; null shows all of it. */
  readonly playedAt = computed(() => (played.value === null ? null : Number(played.value)));
  readonly playing = signal(false);
  /** The tab of the detail pane; null is its first. */
  readonly detailTab = computed(() => detailName.value);
  readonly detailOpen = signal(true);
  readonly following = signal(true);
  /** Asks the list to have the selected line in sight. */
  readonly scrollTo = signal(0);
  readonly helpOpen = signal(false);

  constructor(session: Session) {
    this.session = session;
  }

  /** Keeps the tree to the filter and the played moment, and the selection to the address; returns what ends that. */
  start(): () => void {
    const { session } = this;
    const stops = [
      effect(() => {
        const filter = filterOf(this.pill.value, this.typed.value, session.critical.value);
        untracked(() => {
          session.tree.setFilter(filter);
          session.version.value++;
        });
      }),
      effect(() => {
        const at = this.playedAt.value;
        const began = session.about.value?.began_ms ?? null;
        untracked(() => {
          session.tree.setHorizon(at === null || began === null ? Infinity : began + at);
          session.version.value++;
        });
      }),
      effect(() => {
        session.version.value;
        const wanted = step.value;
        untracked(() => this.findSelected(wanted));
      }),
    ];
    return () => stops.forEach((stop) => stop());
  }

  private findSelected(wanted: string | null): void {
    const at = this.node.value;
    if (wanted === null) return;
    if (at?.row && (at.row.step_id === wanted || String(at.row.number) === wanted)) return;
    if (at?.isFold && this.heldByFold === wanted) return;
    const node = this.session.tree.find(wanted);
    if (!node) return;
    this.session.tree.reveal(node);
    this.node.value = node;
    this.following.value = false;
    this.scrollTo.value++;
    this.session.version.value++;
  }

  private heldByFold: string | null = null;

  /** Looks at a line. */
  select(node: TreeNode, scroll = true): void {
    this.node.value = node;
    this.heldByFold = step.peek();
    if (node.row) setQuery({ step: node.row.step_id });
    if (scroll) this.scrollTo.value++;
  }

  /** Looks at a step wherever it stands: opens what hides it. */
  goTo(node: TreeNode): void {
    this.session.tree.reveal(node);
    this.following.value = false;
    this.session.version.value++;
    this.select(node);
  }

  togglePlay(): void {
    if (!this.playing.value && this.playedAt.value === null) setQuery({ at: "0" });
    this.playing.value = !this.playing.value;
  }

  setOpen(node: TreeNode, open: boolean): void {
    this.session.tree.setOpen(node, open);
    this.session.version.value++;
  }
}
