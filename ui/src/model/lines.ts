// JSON lines. A line that is cut off at the end of a text is left out.

export function parseLines(text: string): unknown[] {
  const lines = text.split("\n");
  const parsed: unknown[] = [];
  for (const line of lines) {
    if (!line.trim()) continue;
    try {
      parsed.push(JSON.parse(line));
    } catch {
      // the server was cut off within it
    }
  }
  return parsed;
}
