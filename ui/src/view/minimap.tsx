import { useComputed, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { clock } from "../model/words.ts";
import { setQuery } from "../state/location.ts";
import type { Looking } from "../state/looking.ts";
import { theme } from "../state/theme.ts";
import { extentOf, wholeAxis } from "./axis_shown.ts";
import { MapPainter } from "./map_painter.ts";

const LEAST_ZOOM = 0.004; // of the width: less is a click

/** The whole session in one strip; dragging over it zooms, W A S D go about in it. */
export function Minimap({ looking }: { looking: Looking }) {
  const { session } = looking;
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useMemo(() => new MapPainter(session), [session]);
  const axis = useComputed(() => {
    session.version.value;
    return wholeAxis(looking, 1);
  });
  const { began, ended } = extentOf(looking);
  const width = axis.value.msAt(1) - began;

  useEffect(() => {
    painter.attach(canvas.current!);
    const watch = new ResizeObserver(() => painter.resize());
    watch.observe(canvas.current!);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const onScheme = () => painter.recolour();
    dark.addEventListener("change", onScheme);
    return () => {
      watch.disconnect();
      dark.removeEventListener("change", onScheme);
    };
  }, []);
  useSignalEffect(() => {
    session.version.value;
    painter.paint(axis.value, extentOf(looking).ended);
  });
  useSignalEffect(() => {
    theme.value;
    requestAnimationFrame(() => painter.recolour());
  });

  const zoom = looking.zoom.value;
  const played = looking.playedAt.value;
  const place = (ms: number) => `${Math.min(1, Math.max(0, axis.value.at(began + ms))) * 100}%`;
  const setZoom = (from: number, until: number) => {
    const low = Math.max(0, Math.min(from, until));
    const high = Math.min(width, Math.max(from, until));
    const all = high - low > width * 0.98 || high - low < width * LEAST_ZOOM;
    setQuery({ zoom: all ? null : `${Math.floor(low)}-${Math.ceil(high)}` });
  };
  const onPointerDown = (down: PointerEvent) => {
    const strip = down.currentTarget as HTMLElement;
    const box = strip.getBoundingClientRect();
    const msAt = (event: PointerEvent) => axis.value.msAt((event.clientX - box.left) / box.width) - began;
    const from = msAt(down);
    strip.setPointerCapture(down.pointerId);
    strip.onpointermove = (move) => setZoom(from, msAt(move));
    strip.onpointerup = () => (strip.onpointermove = null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [from, until] = zoom ?? [0, width];
    const by = (until - from) * 0.2;
    const next = {
      w: [from + by, until - by], s: [from - by, until + by],
      a: [from - Math.min(by, from), until - Math.min(by, from)],
      d: [from + Math.min(by, width - until), until + Math.min(by, width - until)],
    }[{ ArrowLeft: "a", ArrowRight: "d", ArrowUp: "w", ArrowDown: "s" }[event.key] ?? event.key.toLowerCase()];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    setZoom(next[0]!, next[1]!);
  };
  return (
    <div
      class="map"
      role="group"
      aria-label="The whole session: drag to zoom, or W A S D"
      tabIndex={0}
      onPointerDown={onPointerDown}
      onDblClick={() => setQuery({ zoom: null })}
      onKeyDown={onKeyDown}
    >
      <canvas ref={canvas} aria-hidden="true" />
      {zoom && <div class="window" style={{ left: place(zoom[0]), width: `calc(${place(zoom[1])} - ${place(zoom[0])})` }} />}
      {played !== null && <div class="moment" style={{ left: place(played) }} />}
      {began > 0 && <span class="when" style={{ left: "14px" }}>{clock(began)}</span>}
      {began > 0 && <span class="when" style={session.live ? { left: `calc(${place(ended - began)} - 30px)` } : { right: "14px" }}>{session.live ? "now" : clock(ended)}</span>}
    </div>
  );
}
