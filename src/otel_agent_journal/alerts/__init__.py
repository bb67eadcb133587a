"""Alerts over any journal: rules of `alerts.toml`, their state in the store, and whom they are sent to.

`Watch` judges and sends; `firing` says what fires now, for who shows it.
"""

from otel_agent_journal.alerts.book import firing
from otel_agent_journal.alerts.file import found_rules, read_rules
from otel_agent_journal.alerts.receivers import open_receivers
from otel_agent_journal.alerts.watch import Change, Watch

__all__ = ["Change", "Watch", "firing", "found_rules", "open_receivers", "read_rules"]
