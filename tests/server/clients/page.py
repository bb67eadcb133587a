"""A page with LangGraph's `useStream`, built of npm's own packages into a cache outside the checkout."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from scripts import build_ui

PACKAGES: Final = {
    "@langchain/core": "1",
    "@langchain/langgraph-sdk": "1",
    "esbuild": "0.28.2",
    "react": "19",
    "react-dom": "19",
}
PAGE: Final = (
    '<!doctype html><meta charset="utf-8"><title>page</title><div id="root"></div><script src="app.js"></script>'
)
SOURCE: Final = """
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";
import { useStream } from "@langchain/langgraph-sdk/react";

const { url, key } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function Chat() {
  const stream = useStream({ apiUrl: url, apiKey: key, assistantId: "booking", messagesKey: "messages" });
  const said = stream.messages.map((one, at) => h("li", { key: at }, `${one.type}: ${one.content}`));
  const ask = () => stream.submit({ messages: [{ type: "human", content: "Is it free?" }] });
  const answer = () => stream.submit(undefined, { command: { resume: "yes" } });
  return h("main", null,
    h("ul", null, ...said),
    h("p", { id: "asks" }, String(stream.interrupt?.value ?? "")),
    h("p", { id: "agreed" }, String(stream.values?.agreed ?? "")),
    h("p", { id: "busy" }, String(stream.isLoading)),
    h("p", { id: "error" }, String(stream.error ?? "")),
    h("button", { id: "ask", onClick: ask }, "ask"),
    h("button", { id: "answer", onClick: answer }, "answer"));
}
createRoot(document.getElementById("root")).render(h(Chat));
"""


def built(folder: Path) -> None:
    """Write index.html and app.js into a folder; what npm has is fetched once."""
    node = build_ui.node()
    assert node is not None, "there is no Node: make venv"
    npm = build_ui.npm(node)
    assert npm is not None, "there is no npm: make venv"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "otel-agent-journal" / "use-stream"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({"private": True, "type": "module", "dependencies": PACKAGES})
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        package = cache / "package.json"
        if not (cache / ".done").exists() or package.read_text() != wanted:
            package.write_text(wanted)
            shutil.copy(build_ui.UI / ".npmrc", cache / ".npmrc")
            subprocess.run([*npm, "install", "--loglevel=error"], cwd=cache, check=True, timeout=600)
            (cache / ".done").touch()
    (folder / "index.html").write_text(PAGE)
    source = cache / f"app-{os.getpid()}.js"
    source.write_text(SOURCE)
    try:
        esbuild = [
            str(cache / "node_modules" / ".bin" / "esbuild"),
            source.name,
            "--bundle",
            f"--outfile={folder}/app.js",
        ]
        options = ["--platform=browser", "--log-level=error", '--define:process.env.NODE_ENV="production"']
        subprocess.run([*esbuild, *options], cwd=cache, check=True, timeout=300)
    finally:
        source.unlink()
