/** Two sessions on one column. */
export function ComparePage() {
  return <main class="blank"><h1>Compare</h1></main>;
}
