// Light or dark: as the system says, until somebody chooses.
import { signal } from "@preact/signals";

export type Theme = "light" | "dark" | null;

function stored(): Theme {
  try {
    const value = localStorage.getItem("agent-journal.theme");
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // storage may be forbidden; then the choice lasts as long as the page
  }
}

export const theme = signal<Theme>(stored());

function show(): void {
  if (theme.value) document.documentElement.dataset["theme"] = theme.value;
  else delete document.documentElement.dataset["theme"];
}

/** From what is shown now to the other one. */
export function toggleTheme(): void {
  const dark = theme.value ? theme.value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme.value = dark ? "light" : "dark";
  show();
  try {
    localStorage.setItem("agent-journal.theme", theme.value);
  } catch {
    // as above
  }
}

show();
