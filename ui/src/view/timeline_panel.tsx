import { lanesShown } from "../model/scatter.ts";
import type { Dashboard } from "../model/wire_dashboard.ts";
import { href } from "../state/location.ts";
import type { Overview } from "../state/overview.ts";
import { listPath, setList } from "../state/overview.ts";
import { copy } from "../state/copying.ts";
import { Panel } from "./panel.tsx";
import { Since } from "./panels.tsx";
import { Scatter } from "./scatter.tsx";

const LANES = 5;

/** Events by type, in the room of a panel. */
export function TimelinePanel({ overview, board }: { overview: Overview; board: Dashboard }) {
  const lanes = lanesShown(board.lanes.rows, LANES);
  const more = board.lanes.rows.length - lanes.length;
  const acts = (
    <>
      <Since board={board} />
      {overview.zoom.value ? <button onClick={() => setList({ from: null, to: null })}>zoom out</button> : <span>drag to zoom</span>}
      <button onClick={() => void copy(board.lanes.sql, "the SQL")} title={board.lanes.sql}>copy SQL</button>
    </>
  );
  return (
    <Panel name="Events by type" extra={acts}>
      {lanes.length === 0 ? <p class="mute">{board.reading ? "Reading…" : "No events."}</p> : <Scatter lanes={board.lanes} rows={lanes} overview={overview} />}
      {more > 0 && <a class="more mute" href={href(listPath({ view: "events", type: null }, "/"))}>{more} more types, and each event</a>}
    </Panel>
  );
}
