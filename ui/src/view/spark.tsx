const WIDTH = 120;
const HEIGHT = 16;

/** Counts over time as a row of bars. */
export function Spark({ counts, label }: { counts: readonly number[]; label: string }) {
  const most = Math.max(1, ...counts);
  const each = WIDTH / Math.max(1, counts.length);
  const bars = counts
    .map((count, at) => {
      const height = count ? Math.max(1.5, (count / most) * HEIGHT) : 0;
      return height ? `M${(at * each).toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${Math.max(1, each - 1).toFixed(1)}v${height.toFixed(1)}z` : "";
    })
    .join("");
  return (
    <svg class="spark" width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <path d={`M0 ${HEIGHT - 0.5}h${WIDTH}v.5h-${WIDTH}z${bars}`} />
    </svg>
  );
}
