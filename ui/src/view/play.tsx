import { useSignal, useSignalEffect } from "@preact/signals";
import { untracked } from "@preact/signals";
import { clock } from "../model/words.ts";
import { setQuery } from "../state/location.ts";
import type { Looking } from "../state/looking.ts";
import { extentOf } from "./axis_shown.ts";

const LASTS_MS = 20_000; // a whole session, whatever it took
const STEP_MS = 50;

/** Goes through a session that has ended as it went. */
export function Play({ looking }: { looking: Looking }) {
  const { playedAt, playing } = looking;
  looking.session.version.value;
  const extent = extentOf(looking);
  const whole = extent.ended - extent.began;
  const shown = useSignal(0);
  useSignalEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => {
      const at = untracked(() => playedAt.value ?? 0) + Math.max(1, (whole / LASTS_MS) * STEP_MS);
      if (at >= whole) playing.value = false;
      setQuery({ at: at >= whole ? null : String(Math.round(at)) });
      shown.value++;
    }, STEP_MS);
    return () => clearInterval(timer);
  });
  const at = playedAt.value ?? whole;
  return (
    <div class="play">
      <button class="button" aria-pressed={playing.value} onClick={() => looking.togglePlay()}>
        {playing.value ? "Stop" : "Play"} <kbd>space</kbd>
      </button>
      {(playing.value || playedAt.value !== null) && (
        <input
          type="range"
          min={0}
          max={Math.ceil(whole)}
          value={at}
          aria-label="Moment of the session"
          aria-valuetext={clock(extent.began + at)}
          onInput={(event) => {
            const value = Number(event.currentTarget.value);
            setQuery({ at: value >= whole ? null : String(value) });
          }}
        />
      )}
    </div>
  );
}
