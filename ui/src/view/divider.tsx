import { nameShare, setNameShare } from "../state/prefs.ts";

/** Between names and bars: dragged, or moved by the arrow keys. */
export function Divider() {
  const onPointerDown = (down: PointerEvent) => {
    const handle = down.currentTarget as HTMLElement;
    const { left, width } = handle.parentElement!.getBoundingClientRect();
    handle.setPointerCapture(down.pointerId);
    handle.onpointermove = (move) => setNameShare(((move.clientX - left - 106) / (width - 106)) * 100);
    handle.onpointerup = () => (handle.onpointermove = null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    setNameShare(nameShare.value + by);
  };
  return (
    <div
      class="divider"
      role="separator"
      aria-orientation="vertical"
      aria-label="Width of the names"
      aria-valuemin={15}
      aria-valuemax={85}
      aria-valuenow={Math.round(nameShare.value)}
      tabIndex={0}
      onPointerDown={onPointerDown}
      onKeyDown={onKeyDown}
    />
  );
}
