// The journal that an exported page holds itself: answers in compressed chunks, unpacked when one is looked at.
//
// What the elements hold is said where they are written: server/one_file.py.
import type { About } from "./exported.ts";
import { textOf } from "./exported.ts";
import type { Source } from "./source.ts";
import { Refusal } from "./source.ts";

const KEPT = 8; // chunks that are unpacked, half a megabyte of text each

type Chunk = Readonly<Record<string, unknown>>;

/** The source of an exported page. */
export function fileSource(about: About): Source {
  const prefix = `/api/sessions/${encodeURIComponent(about.session_id)}`;
  const index: Readonly<Record<string, number>> = JSON.parse(textOf("index"));
  const chunks = new Map<number, Promise<Chunk>>();

  const chunk = (number: number): Promise<Chunk> => {
    const known = chunks.get(number) ?? unpacked(textOf(`chunk-${number}`));
    chunks.delete(number);
    chunks.set(number, known); // the last is the one used last
    if (chunks.size > KEPT) chunks.delete(chunks.keys().next().value!);
    return known;
  };

  const get = async (path: string): Promise<unknown> => {
    const name = path.startsWith(prefix) ? path.slice(prefix.length).replace(/^\//, "").split("?")[0]! : null;
    const number = name === null || !Object.hasOwn(index, name) ? undefined : index[name];
    if (number === undefined) throw new Refusal(404, "This is not in the exported file. The journal that it was exported from has it.");
    return (await chunk(number))[name!];
  };
  return { get, text: async (path) => String(await get(path)), stream: () => null };
}

async function unpacked(base64: string): Promise<Chunk> {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}
