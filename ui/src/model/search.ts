// What is looked for in a list of sessions: as text for people, and as the query of the page and of the server.
//
// `agent:researcher status:failed cost>0.1 tag:vip "A-1042"` is agent=…&status=ERROR&min_cost=0.1&tag=vip&q=A-1042.

/** The names that a page's address and the server's lists have in common; those in MANY may stand there again. */
export const NAMES = ["status", "agent", "user", "tag", "min_cost", "cause", "tool", "q"] as const;
const MANY = new Set<string>(["status", "tag"]);

/** A state as people say it, and the statuses and reasons that it stands for. */
export const STATES: Readonly<Record<string, readonly string[]>> = {
  running: ["PENDING", "PROCESSING"],
  waiting: ["awaiting_input"],
  failed: ["ERROR"],
  gone: ["killed", "lost"],
  cancelled: ["cancelled"],
  completed: ["COMPLETED"],
};
const SAID: Readonly<Record<string, readonly string[]>> = {
  ...STATES,
  error: ["ERROR"],
  killed: ["killed"],
  lost: ["lost"],
  ok: ["COMPLETED"],
  pending: ["PENDING"],
  processing: ["PROCESSING"],
  interrupted: ["INTERRUPTED"],
};
const OF_WORD: Readonly<Record<string, string>> = {
  agent: "agent",
  user: "user",
  tag: "tag",
  error: "cause",
  cause: "cause",
  tool: "tool",
};
const TERM = /([a-z]+)(:|>=?|=)("[^"]*"|\S+)|"([^"]*)"|(\S+)/gi;

/** What the text asks for, as a query; words that name nothing are searched for in what sessions say. */
export function queryOfText(text: string): URLSearchParams {
  const query = new URLSearchParams();
  const words: string[] = [];
  for (const [whole, name, sign, given, quoted, word] of text.matchAll(TERM)) {
    if (name === undefined || given === undefined) words.push(quoted ?? word ?? "");
    else if (!take(query, name.toLowerCase(), sign!, unquoted(given))) words.push(unquoted(whole));
  }
  const said = words.filter(Boolean).join(" ");
  if (said) query.set("q", said);
  return query;
}

function take(query: URLSearchParams, name: string, sign: string, value: string): boolean {
  if (name === "cost" && sign.startsWith(">")) {
    if (!Number.isFinite(Number(value))) return false;
    query.set("min_cost", String(Number(value)));
  } else if (sign !== ":") {
    return false;
  } else if (name === "status" || name === "is") {
    const states = SAID[value.toLowerCase()];
    if (!states) return false;
    for (const one of states) if (!query.getAll("status").includes(one)) query.append("status", one);
  } else if (name === "tenant") {
    query.append("tag", `tenant=${value}`);
  } else {
    const known = OF_WORD[name];
    if (!known) return false;
    if (MANY.has(known)) query.append(known, value);
    else query.set(known, value);
  }
  return true;
}

/** The text that asks for a query: what `queryOfText` makes the same of. */
export function textOfQuery(query: URLSearchParams): string {
  const parts: string[] = [];
  const agent = query.get("agent");
  if (agent) parts.push(`agent:${quoted(agent)}`);
  const user = query.get("user");
  if (user) parts.push(`user:${quoted(user)}`);
  const status = query.getAll("status");
  const state = stateOfQuery(query);
  if (state) parts.push(`status:${state}`);
  else for (const one of status) parts.push(`status:${one.toLowerCase()}`);
  for (const tag of query.getAll("tag")) {
    parts.push(tag.startsWith("tenant=") ? `tenant:${quoted(tag.slice(7))}` : `tag:${quoted(tag)}`);
  }
  const cost = query.get("min_cost");
  if (cost) parts.push(`cost>${cost}`);
  const cause = query.get("cause");
  if (cause) parts.push(`error:${quoted(cause)}`);
  const tool = query.get("tool");
  if (tool) parts.push(`tool:${quoted(tool)}`);
  const said = query.get("q");
  if (said) parts.push(`"${said.replaceAll('"', "")}"`);
  return parts.join(" ");
}

/** Which of STATES a query asks for; null where it asks for none or for others. */
export function stateOfQuery(query: URLSearchParams): string | null {
  const asked = query.getAll("status").sort().join();
  if (!asked) return null;
  return Object.keys(STATES).find((state) => [...STATES[state]!].sort().join() === asked) ?? null;
}

/** The filters of a page's address alone, without what else stands in it. */
export function filtersOf(query: URLSearchParams): URLSearchParams {
  const found = new URLSearchParams();
  for (const name of NAMES) for (const value of query.getAll(name)) found.append(name, value);
  return found;
}

function quoted(value: string): string {
  return /[\s"]/.test(value) ? `"${value.replaceAll('"', "")}"` : value;
}

function unquoted(value: string): string {
  return value.replaceAll('"', "");
}
