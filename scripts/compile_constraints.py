"""Write constraints.txt: the exact versions that `make venv` installs, resolved by pip for the running Python.

Run by `make constraints`. It names packages and versions only: no hashes, index addresses or paths, so that the file
is the same on every machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Resolved for Python 3.11 from pyproject.toml with every extra; `make constraints` writes it anew.\n"


def main() -> None:
    """Resolve the package with all extras, installing nothing, and write what pip chose."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, f"{ROOT}[dev]"], check=True, stdout=subprocess.PIPE, cwd=ROOT)
    chosen = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in json.loads(done.stdout)["install"]
        if "dir_info" not in item["download_info"]
    }
    lines = [f"{name}=={version}\n" for name, version in sorted(chosen.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
