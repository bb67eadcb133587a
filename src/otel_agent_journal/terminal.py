"""Text on its way to a terminal, and the one door to stderr: nothing of it drives the terminal, no URL tells a secret.

What a journal holds was written by models and tools, and what an error repeats by anybody, so nobody vouches for it.
Stdout is the command line's (`cli.output`), which stands on the same rules.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from otel_agent_journal.masking import masked_within

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

# C0, DEL and C1 steer a terminal (ESC, CSI, OSC, BEL). The rest reorder, hide or break what is shown: controls of
# direction, separators of lines and paragraphs.
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
# The same in UTF-8, but for C0, which JSON never has raw.
_CONTROLS_OF_JSON: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xaf]|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]"
)


def neutral(text: str) -> str:
    """Return text with control characters made visible, line ends and tabs kept; lone surrogates replaced."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub(_visible, text).encode("utf-8", "replace").decode("utf-8")


def neutral_line(text: str) -> str:
    """Return text as `neutral` does, line ends made visible too, so that it can be no second line."""
    return neutral(text).replace("\n", "␊")


def neutral_json(data: bytes) -> bytes:
    """Return JSON of the same value in which the control characters that JSON allows raw are escaped."""
    if data.isascii() and b"\x7f" not in data:
        return data
    return _CONTROLS_OF_JSON.sub(lambda match: b"\\u%04x" % ord(match[0].decode("utf-8")), data)


def say(line: str) -> None:
    """Print a line for the user on stderr, which may be closed. Thread-safe as far as stderr is."""
    with suppress(OSError, ValueError):
        print(neutral_line(masked_within(line)), file=sys.stderr, flush=True)  # noqa: T201 - the user's terminal


def log_handler(form: str = "", told: Callable[[str], object] = say) -> logging.Handler:
    """Return a handler that tells a log line by line: in this form with tracebacks, else the messages alone."""
    import logging

    formatter = logging.Formatter(form)

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in (formatter.format(record) if form else record.getMessage()).split("\n"):
                told(line)

    return Lines()


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the Unicode picture of that control: ␛ for ESC
    return "␡" if code == 0x7F else f"\\u{code:04x}"
