// What a page says of itself that holds its journal, as `export --html` writes it.

export interface About {
  readonly version: number;
  readonly session_id: string;
  readonly exported_ms: number;
}

/** The text of one of its elements. */
export function textOf(id: string): string {
  return document.getElementById(`agent-journal-${id}`)?.textContent ?? "";
}

/** Which session the file is of, and when it was exported. */
export function aboutFile(): About {
  return JSON.parse(textOf("file"));
}
