interface DividerProps {
  readonly label: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
  /** Whether the arrow to the right makes it more. */
  readonly rightIsMore: boolean;
  /** The percentage that a pointer at this place of the box around means. */
  readonly at: (x: number, around: DOMRect) => number;
  readonly onChange: (percent: number) => void;
}

/** A line between two parts of the page: dragged, or moved by the arrow keys. */
export function Divider({ label, value, least, most, rightIsMore, at, onChange }: DividerProps) {
  const onPointerDown = (down: PointerEvent) => {
    const handle = down.currentTarget as HTMLElement;
    const around = handle.parentElement!.getBoundingClientRect();
    handle.setPointerCapture(down.pointerId);
    handle.onpointermove = (move) => onChange(at(move.clientX, around));
    handle.onpointerup = () => (handle.onpointermove = null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    onChange(value + (rightIsMore ? by : -by));
  };
  return (
    <div
      class="divider"
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuemin={least}
      aria-valuemax={most}
      aria-valuenow={Math.round(value)}
      tabIndex={0}
      onPointerDown={onPointerDown}
      onKeyDown={onKeyDown}
    />
  );
}
