// The one entry of the viewer: what esbuild bundles.
import { render } from "preact";
import "./state/theme.ts";
import { App } from "./view/app.tsx";
import "./view/style.css";

addEventListener("DOMContentLoaded", () => {
  const home = document.getElementById("app")!;
  home.textContent = "";
  render(<App />, home);
});
