"""The documentation as tests see it: pages, their headings, links and code blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "collector-config" / "README.md",
    ROOT / "tests" / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FILE: Final = re.compile(r"# ([\w-]+\.py)\n")


class Block(NamedTuple):
    """One fenced block. `line`: of its opening fence, from 1."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that a Python block is to be saved as: it says so in its first line."""
        named = _FILE.match(self.text) if self.language == "python" else None
        return named[1] if named else None


def name(page: Path) -> str:
    """Return a page's path as one reads it."""
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a page's text, in order."""
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in _FENCE.finditer(text)]


def links(text: str) -> list[str]:
    """Return the targets of all links."""
    return _LINK.findall(text)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(text):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).strip()
        anchor = base = words.replace(" ", "-")
        count = 0
        while anchor in found:
            count += 1
            anchor = f"{base}-{count}"
        found.add(anchor)
    return found


def said(text: str) -> str:
    """Return all that is said as code: in backquotes or in a block. What is named there is documented."""
    spans = re.findall(r"`+([^`]+)`+", _FENCE.sub("", text))
    return "\n".join([*spans, *(block.text for block in blocks(text))])


def everything_said() -> str:
    """Return what all pages say as code, but for the changelog and the decision records."""
    pages = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "adr"]
    return "\n".join(said(page.read_text()) for page in pages)
