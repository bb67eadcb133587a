// Where data comes from: the server, or the journal that an exported page holds. Nothing else fetches.
import { href } from "./location.ts";

export interface Source {
  /** The JSON of a path such as `/api/sessions?limit=50`; throws a Refusal. */
  get(path: string, signal?: AbortSignal): Promise<unknown>;
  /** The text of a path. */
  text(path: string, signal?: AbortSignal): Promise<string>;
  /** A stream of the server's messages, or null where nothing will ever arrive. */
  stream(path: string): EventSource | null;
}

/** An answer that is none: what the server said of it (RFC 9457), or that it could not be asked. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function ask(path: string, accept: string, signal?: AbortSignal, body?: unknown): Promise<Response> {
  let answer: Response;
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const headers: HeadersInit = body === undefined ? { accept } : { accept, "content-type": "application/json" };
  try {
    answer = await fetch(href(path), { headers, signal: signal ?? null, ...sent });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "The server does not answer. Is agent-journal still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  throw new Refusal(answer.status, said?.detail ?? said?.title ?? `${answer.status} ${answer.statusText}`);
}

const server: Source = {
  get: async (path, signal) => (await ask(path, "application/json", signal)).json(),
  text: async (path, signal) => (await ask(path, "text/plain, */*", signal)).text(),
  stream: (path) => new EventSource(href(path)),
};

let current = server;

/** Takes another source than the server: called once, before anything is shown. */
export function readFrom(source: Source): void {
  current = source;
}

export const source: Source = {
  get: (path, signal) => current.get(path, signal),
  text: (path, signal) => current.text(path, signal),
  stream: (path) => current.stream(path),
};

/** The JSON of a path, as the type that the caller knows it has. */
export function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return source.get(path, signal) as Promise<T>;
}

/** Asks the server to do something, which it does when it was started with `--write`; throws a Refusal. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  return (await ask(path, "application/json", undefined, body)).json() as Promise<T>;
}
