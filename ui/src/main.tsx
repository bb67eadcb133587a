// The one entry of the viewer: what esbuild bundles.
import { render } from "preact";
import "./state/theme.ts";
import { aboutFile } from "./state/exported.ts";
import { fileSource } from "./state/file.ts";
import { readFrom } from "./state/source.ts";
import { App } from "./view/app.tsx";
import "./view/style.css";

if (IN_FILE) readFrom(fileSource(aboutFile()));

addEventListener("DOMContentLoaded", () => {
  const home = document.getElementById("app")!;
  home.textContent = "";
  render(<App />, home);
});
