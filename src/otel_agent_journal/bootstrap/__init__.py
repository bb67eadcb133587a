"""The only composition root: settings become stores, spools, recorders and drains, wired together.

Entry points and the command line come in here. Every function imports what it wires when it is called, so that an
agent pays for nothing it does not use.
"""

from otel_agent_journal.bootstrap.openers import open_drain, open_forwarder, open_store
from otel_agent_journal.bootstrap.process import attach, configure, flush, shutdown

__all__ = ["attach", "configure", "flush", "open_drain", "open_forwarder", "open_store", "shutdown"]
