// The keyboard of a session's page. The list that `?` shows is this one.
import type { TreeNode } from "../model/tree.ts";
import type { Detail } from "./detail.ts";
import { setQuery } from "./location.ts";
import type { Looking } from "./looking.ts";
import { BASES, TABS } from "./looking.ts";
import { copyCommand, copyLink, copyMarkdown } from "./sharing.ts";
import { toggleTheme } from "./theme.ts";

export const KEYS: readonly (readonly [string, string])[] = [
  ["↑ ↓ or k j", "move from step to step"],
  ["← →", "fold, unfold; to the step above, below"],
  ["Enter", "open the step, or a fold"],
  ["Home End", "first and last step"],
  ["PgUp PgDn", "a page up, down"],
  ["e E", "next, previous error"],
  ["[ ]", "previous, next step of the same name"],
  ["* -", "unfold all, fold all"],
  ["f", "follow the newest step"],
  ["Space", "pause what is live; play what has ended"],
  ["b", "bars by time, tokens, cost"],
  ["z", "zoom to the step; back to all"],
  ["d", "details on, off"],
  ["1 2 3 4", "steps, conversation, events, state"],
  ["/", "search"],
  ["c", "copy a link to what is shown"],
  ["y", "copy the command that prints it"],
  ["m", "copy it as Markdown"],
  ["t", "light or dark"],
  ["Esc", "close; take the filter away"],
  ["?", "these keys"],
];

const PAGE = 20;

/** Does what a key stands for, where nobody types. */
export function onKey(event: KeyboardEvent, looking: Looking, detail: Detail): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.target as HTMLElement;
  if (target.closest("dialog")) return;
  const typing = target.matches("input:not([type=range]), textarea, select");
  if (typing && event.key !== "Escape") return;
  if (target.matches("button, a, [role=tab], summary, input") && (event.key === "Enter" || event.key === " ")) return;
  const act = ACTIONS[event.key] ?? (looking.tab.value === "steps" ? IN_TREE[event.key] : undefined);
  if (!act) return;
  const inTree = target === document.body || target.closest('[role="treegrid"]') !== null;
  if (ARROWS.has(event.key) && !inTree) return;
  event.preventDefault();
  act(looking, detail);
}

const ARROWS = new Set(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown", "Enter"]);

type Act = (looking: Looking, detail: Detail) => void;

const ACTIONS: Readonly<Record<string, Act>> = {
  "?": (looking) => void (looking.helpOpen.value = !looking.helpOpen.value),
  "/": () => document.querySelector<HTMLInputElement>(".search")?.focus(),
  " ": (looking) => (looking.session.live ? looking.session.setPaused(!looking.session.paused.value) : looking.togglePlay()),
  Escape: escape,
  b: (looking) => {
    const next = BASES[(BASES.indexOf(looking.basis.value) + 1) % BASES.length]!;
    setQuery({ bars: next === "time" ? null : next });
  },
  c: copyLink,
  d: (looking) => void (looking.detailOpen.value = !looking.detailOpen.value),
  m: copyMarkdown,
  t: toggleTheme,
  y: (looking) => copyCommand(looking),
  ...Object.fromEntries(TABS.map((tab, at) => [String(at + 1), () => setQuery({ tab: tab === "steps" ? null : tab }, false)])),
};

const IN_TREE: Readonly<Record<string, Act>> = {
  ArrowDown: (looking) => move(looking, 1),
  ArrowUp: (looking) => move(looking, -1),
  j: (looking) => move(looking, 1),
  k: (looking) => move(looking, -1),
  PageDown: (looking) => move(looking, PAGE),
  PageUp: (looking) => move(looking, -PAGE),
  Home: (looking) => move(looking, -Infinity),
  End: (looking) => move(looking, Infinity),
  ArrowRight: (looking) => unfold(looking),
  ArrowLeft: (looking) => fold(looking),
  Enter: (looking) => enter(looking),
  e: (looking) => jump(looking, 1, (node) => node.row!.errors > 0),
  E: (looking) => jump(looking, -1, (node) => node.row!.errors > 0),
  "]": (looking) => sameName(looking, 1),
  "[": (looking) => sameName(looking, -1),
  "*": (looking) => allOpen(looking, true),
  "-": (looking) => allOpen(looking, false),
  f: (looking) => void (looking.following.value = !looking.following.value),
  z: zoom,
};

function move(looking: Looking, by: number): void {
  const { tree } = looking.session;
  const at = looking.node.value ? tree.indexOf(looking.node.value) : -1;
  const step = by > 0 ? 1 : -1;
  let line = Math.max(0, Math.min(tree.lines - 1, at < 0 && Number.isFinite(by) ? (by > 0 ? 0 : tree.lines - 1) : at + by));
  let found = tree.window(line, 1)[0];
  if (found?.wait) found = tree.window((line += step), 1)[0];
  if (found && !found.wait) looking.select(found.node);
  if (by < 0) looking.following.value = false;
}

function unfold(looking: Looking): void {
  const node = looking.node.value;
  if (!node) return move(looking, 1);
  if (node.children.length && !looking.session.tree.isOpen(node)) looking.setOpen(node, true);
  else if (node.children.length) move(looking, 1);
}

function fold(looking: Looking): void {
  const node = looking.node.value;
  if (!node) return;
  const { tree } = looking.session;
  if (node.children.length && tree.isOpen(node) && node.open) looking.setOpen(node, false);
  else if (node.parent && node.parent !== tree.root) looking.select(node.parent);
}

function enter(looking: Looking): void {
  const node = looking.node.value;
  if (!node) return move(looking, 1);
  if (node.isFold) looking.setOpen(node, !node.open);
  else {
    looking.detailOpen.value = true;
    requestAnimationFrame(() => document.querySelector<HTMLElement>(".detail [role=tab][aria-selected=true]")?.focus());
  }
}

function jump(looking: Looking, by: 1 | -1, wanted: (node: TreeNode) => boolean): void {
  const { tree } = looking.session;
  const found = tree.near(looking.node.value, by, (row) => wanted(tree.nodes.get(row.key)!));
  if (found) looking.goTo(found);
}

function sameName(looking: Looking, by: 1 | -1): void {
  const at = looking.node.value?.first;
  if (at) jump(looking, by, (node) => node.row!.name === at.name && node.row!.kind === at.kind);
}

function allOpen(looking: Looking, open: boolean): void {
  looking.session.tree.setAllOpen(open);
  looking.session.version.value++;
  if (looking.node.value) looking.goTo(looking.node.value);
}

function zoom(looking: Looking): void {
  const row = looking.node.value?.row;
  const began = looking.session.tree.order[0]?.row?.began_ms;
  if (looking.zoom.value || !row || began === undefined) return setQuery({ zoom: null });
  const ended = row.ended_ms ?? looking.session.now.value;
  const room = Math.max(1, (ended - row.began_ms) * 0.1);
  setQuery({ zoom: `${Math.max(0, Math.floor(row.began_ms - began - room))}-${Math.ceil(ended - began + room)}` });
}

function escape(looking: Looking): void {
  const search = document.querySelector<HTMLInputElement>(".search");
  if (document.activeElement === search) return search!.blur();
  const row = document.querySelector<HTMLElement>('[role="row"][aria-selected="true"]');
  if (document.activeElement?.closest(".detail") && row) return row.focus();
  if (looking.helpOpen.value) looking.helpOpen.value = false;
  else if (looking.pill.value || looking.typed.value) setQuery({ show: null, q: null });
  else if (looking.zoom.value || looking.playedAt.value !== null) setQuery({ zoom: null, at: null });
}
