// The pages about several sessions: loaded where one is looked at, so that a single session's page waits for none.
export { ComparePage } from "./compare_page.tsx";
export { SessionsPage } from "./sessions_page.tsx";
