// The server's stream of one page: one connection a tab, which goes on where it broke off.
import { source } from "./source.ts";

export type Link = "connecting" | "live" | "reconnecting" | "ended";

export interface Listener {
  message(kind: string, data: unknown): void;
  link(state: Link): void;
}

const KINDS = ["session", "rows", "text", "resync", "delayed"];
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

/**
 * Opens a stream and keeps it open; returns what closes it. The browser itself takes a broken one up again with the id
 * of the last message; where the server refused, it does not, and this does, later each time.
 */
export function follow(path: string, listener: Listener): () => void {
  let events: EventSource | null = null;
  let last = "";
  let wait = FIRST_WAIT_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;
  let known = false;

  const open = () => {
    if (closed) return;
    events = source.stream(last ? `${path}&after=${encodeURIComponent(last)}` : path);
    if (!events) return listener.link("ended");
    events.onopen = () => {
      wait = FIRST_WAIT_MS;
      known = true;
      listener.link("live");
    };
    events.onerror = () => {
      if (closed) return;
      listener.link("reconnecting");
      if (events?.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, wait);
      if (known) wait = Math.min(wait * 2, LONGEST_WAIT_MS); // what has not begun yet may do so any moment
    };
    for (const kind of KINDS) {
      events.addEventListener(kind, (event: MessageEvent<string>) => {
        if (event.lastEventId) last = event.lastEventId;
        listener.message(kind, event.data ? JSON.parse(event.data) : null);
      });
    }
  };
  listener.link("connecting");
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    events?.close();
  };
}
