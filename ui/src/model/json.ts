// Values as they are looked at: text that is JSON is opened as such, and a closed branch says what is in it.

/** The object or list that a text holds as JSON; null of all else. */
export function parsed(value: unknown): object | null {
  if (typeof value !== "string" || value.length > 5_000_000) return null;
  const first = value.trimStart()[0];
  if (first !== "{" && first !== "[") return null;
  try {
    const found: unknown = JSON.parse(value);
    return found !== null && typeof found === "object" ? found : null;
  } catch {
    return null;
  }
}

export function childrenOf(value: object): [string, unknown][] {
  return Array.isArray(value) ? value.map((one, at) => [String(at), one]) : Object.entries(value);
}

/** The beginning of a value in one line. */
export function summary(value: unknown, most = 60): string {
  let text = "";
  for (const [key, member] of childrenOf(value as object)) {
    const said = member !== null && typeof member === "object" ? (Array.isArray(member) ? "[…]" : "{…}") : String(member).slice(0, most);
    text += `${text ? ", " : ""}${Array.isArray(value) ? "" : `${key}: `}${said}`;
    if (text.length > most) return `${text.slice(0, most)}…`;
  }
  return text.replace(/\s+/g, " ");
}

/** A value as text to copy. */
export function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** The JSON pointer of a member. */
export function below(pointer: string, name: string | number): string {
  return `${pointer}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
