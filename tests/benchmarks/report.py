"""How the benchmarks print and keep their figures: plain aligned tables, and JSON beside them."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


class Table:
    """Rows of text, the first column and a trailing verdict left-aligned, the others right-aligned."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: list[tuple[str, ...]] = []

    def columns(self, *names: str) -> None:
        """Set the heads; call it first."""
        self._rows = [names]

    def row(self, *cells: str) -> None:
        """Add a row with as many cells as there are columns."""
        self._rows.append(cells)

    @staticmethod
    def ratio(value: float | None) -> str:
        """Return a ratio with two decimals, nothing where there is none."""
        return "" if value is None else f"{value:.2f}"

    @staticmethod
    def verdict(passed: bool | None) -> str:
        """Return pass, FAIL or nothing where no bound applies."""
        return {True: "pass", False: "FAIL", None: ""}[passed]

    def print(self) -> None:
        """Write the table to stdout."""
        widths = [max(len(row[i]) for row in self._rows) for i in range(len(self._rows[0]))]
        print(f"\n{self._title}")
        for row in self._rows:
            cells = [f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            print("  " + "  ".join(cells).rstrip())


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Keep a benchmark's figures with what they were measured on, never with whose machine it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    on = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    path.write_text(json.dumps({"on": on} | figures, indent=1) + "\n", encoding="utf-8")
