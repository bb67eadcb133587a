import { useSignal } from "@preact/signals";
import { below, childrenOf, parsed, summary } from "../model/json.ts";
import { count, seen } from "../model/words.ts";
import { Cut } from "./cut.tsx";

const FIRST = 100; // members that are shown before «more»
const OPEN_TO = 3; // levels that are open from the start, where they are small

/** A value, opened bit by bit: what is not looked at is not drawn. */
export function JsonView({ value, pointer }: { value: unknown; pointer?: string | undefined }) {
  return (
    <div class="json box">
      <Value value={value} depth={0} pointer={pointer} />
    </div>
  );
}

interface ValueProps {
  readonly name?: string | undefined;
  readonly value: unknown;
  readonly depth: number;
  readonly pointer: string | undefined;
}

function Value({ name, value, depth, pointer }: ValueProps) {
  const inner = parsed(value);
  const shown = inner ?? value;
  if (shown !== null && typeof shown === "object") return <Branch name={name} value={shown} depth={depth} pointer={inner === null ? pointer : undefined} wasText={inner !== null} />;
  return (
    <div class="line" style={{ "--d": depth }}>
      <span class="leaf" />
      <Name name={name} />
      <Leaf value={shown} pointer={pointer} />
    </div>
  );
}

function Name({ name }: { name?: string | undefined }) {
  return name === undefined ? null : <><span class="key">{seen(name)}</span>: </>;
}

function Leaf({ value, pointer }: { value: unknown; pointer: string | undefined }) {
  if (typeof value === "string") return <span class="string"><Cut text={value} pointer={pointer} /></span>;
  return <span class="number">{String(value)}</span>;
}

function Branch({ name, value, depth, pointer, wasText }: ValueProps & { value: object; wasText: boolean }) {
  const members = childrenOf(value);
  const open = useSignal(depth < OPEN_TO && members.length <= (depth === 0 ? 200 : 20));
  const most = useSignal(FIRST);
  return (
    <>
      <div class="line" style={{ "--d": depth }}>
        <button class={`twist${open.value ? " open" : ""}`} aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
          <Name name={name} />
          <span class="note">
            {Array.isArray(value) ? `[${count(members.length)}]` : `{${count(members.length)}}`}
            {wasText ? " text" : ""}
            {open.value ? "" : ` ${seen(summary(value))}`}
          </span>
        </button>
      </div>
      {open.value && members.slice(0, most.value).map(([key, member]) => <Value key={key} name={key} value={member} depth={depth + 1} pointer={pointer === undefined ? undefined : below(pointer, key)} />)}
      {open.value && members.length > most.value && (
        <div class="line" style={{ "--d": depth + 1 }}>
          <button class="more" onClick={() => (most.value *= 4)}>{count(members.length - most.value)} more</button>
        </div>
      )}
    </>
  );
}
