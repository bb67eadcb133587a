"""Slack, by an incoming webhook: its URL is a secret, and a message is text in which nothing is anybody's command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message, is_firing
from otel_agent_journal.alerts.receivers import Receiver, http_url, secret_of, shown_place, timeout_of
from otel_agent_journal.webhooks import post

_MARKS: Final = {"critical": ":rotating_light:", "warning": ":warning:", "info": ":information_source:"}
_OVER: Final = ":white_check_mark:"
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # so that no text mentions @channel


class Slack:
    """Posts messages to a channel of Slack's."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s

    @property
    def shown(self) -> str:
        """Its host."""
        return shown_place(self._url)

    def send(self, message: Message) -> None:
        """Send a message, once. Raises NotSent."""
        post(self._url, msgspec.json.encode(told(message)), {}, self._timeout_s)


def told(message: Message) -> dict[str, Any]:
    """Return a message as Slack takes it: the text that notifications show, and blocks without formatting in them."""
    mark = _MARKS.get(message.severity, "") if is_firing(message) else _OVER
    summary = message.summary.translate(_ESCAPED)
    labels = " · ".join(f"{name}: {value}" for name, value in message.labels.items())
    context = " · ".join(filter(None, (message.severity, labels, message.store)))
    return {
        "text": f"{mark} {message.title.translate(_ESCAPED)}: {summary}",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"{mark} *{message.title.translate(_ESCAPED)}*"}},
            {"type": "section", "text": {"type": "plain_text", "text": message.summary or "-", "emoji": False}},
            {"type": "context", "elements": [{"type": "plain_text", "text": context[:2000], "emoji": False}]},
        ],
    }


def open_receiver(table: Table, environ: Mapping[str, str]) -> Receiver:
    """Return a channel of Slack from its table.

    Raises:
        ConfigError: a key is malformed, or the URL is missing.
    """
    if table.has("url"):
        raise table.error(
            "url stands in the file, and a webhook's URL of Slack is a secret",
            "name a variable (url_env) or a file (url_file) in its place",
            key="url",
        )
    url = secret_of(table, "url", environ, needed="name a variable (url_env) or a file (url_file) that has it")
    return Slack(http_url(table, "url", url or ""), timeout_of(table))
