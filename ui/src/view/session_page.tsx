/** One session: its tree, its bars, and what is looked at. */
export function SessionPage({ id }: { id: string }) {
  return <main class="blank"><h1>{id}</h1></main>;
}
