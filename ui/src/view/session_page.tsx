import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import "./session.css";
import { seen } from "../model/words.ts";
import { Detail } from "../state/detail.ts";
import { onKey } from "../state/keys.ts";
import { Looking } from "../state/looking.ts";
import { detailShare } from "../state/prefs.ts";
import { Session } from "../state/session.ts";
import { sessionState, STATE_WORDS } from "../model/rows.ts";
import { Conversation } from "./conversation.tsx";
import { DetailPane } from "./detail_pane.tsx";
import { EventsTable } from "./events_table.tsx";
import { Footer } from "./footer.tsx";
import { Header } from "./header.tsx";
import { Help } from "./help.tsx";
import { Minimap } from "./minimap.tsx";
import { Pills } from "./pills.tsx";
import { Refused } from "./refused.tsx";
import { StateTab } from "./state_tab.tsx";
import { Toast } from "./toast.tsx";
import { TreeGrid } from "./tree_grid.tsx";

/** One session: its tree, its bars, and what is looked at. */
export function SessionPage({ id }: { id: string }) {
  const [session, looking, detail] = useMemo(() => {
    const session = new Session(id);
    return [session, new Looking(session), new Detail()] as const;
  }, [id]);
  useEffect(() => {
    const stops = [session.start(), looking.start(), detail.start(looking)];
    const onKeyDown = (event: KeyboardEvent) => onKey(event, looking, detail);
    addEventListener("keydown", onKeyDown);
    return () => {
      stops.forEach((stop) => stop());
      removeEventListener("keydown", onKeyDown);
    };
  }, [id]);
  useSignalEffect(() => {
    const about = session.about.value;
    document.title = `${id}${about ? ` · ${STATE_WORDS[sessionState(about)]}` : ""} · agent journal`;
  });

  const refusal = session.refusal.value;
  if (refusal && !session.about.value) return <Refused refusal={refusal} what={`The session ${seen(id)}`} />;
  return (
    <div class="session" style={{ "--detail": detailShare.value }}>
      <Header looking={looking} detail={detail} />
      <main>
        <Minimap looking={looking} />
        <Pills looking={looking} />
        <div class="work">
          <Work looking={looking} />
          {looking.detailOpen.value && looking.node.value ? <DetailPane looking={looking} detail={detail} /> : null}
        </div>
      </main>
      <Footer looking={looking} />
      <Help looking={looking} />
      <Toast />
    </div>
  );
}

function Work({ looking }: { looking: Looking }) {
  switch (looking.tab.value) {
    case "conversation":
      return <Conversation looking={looking} />;
    case "events":
      return <EventsTable looking={looking} />;
    case "state":
      return <StateTab looking={looking} />;
    default:
      return <TreeGrid looking={looking} />;
  }
}
