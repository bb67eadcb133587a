"""The contract of every store, as tests: subclass `StoreContract`, give it a `store`, run it with pytest.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(...)
            yield store
            store.close()

Run it against the real server, not a fake of it. Each test's docstring is one sentence of the specification; the
sentences are those of `store.protocol`. What a backend declares it cannot do is skipped here, after it was seen to
refuse. The suite comes in seven parts, one a port or a theme: events, catch-up, context, heads, what is behind a head,
documents, administration.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"otel_agent_journal.testing.contract_{part}"
        for part in ("admin", "catch_up", "context", "deleting", "documents", "events", "heads", "settling", "setup")
    )
)

from otel_agent_journal.testing.contract_admin import AdminContract  # noqa: E402 - after the rewriting of its asserts
from otel_agent_journal.testing.contract_catch_up import CatchUpContract  # noqa: E402
from otel_agent_journal.testing.contract_context import ContextContract  # noqa: E402
from otel_agent_journal.testing.contract_deleting import DeletingContract  # noqa: E402
from otel_agent_journal.testing.contract_documents import DocumentContract  # noqa: E402
from otel_agent_journal.testing.contract_events import EventContract  # noqa: E402
from otel_agent_journal.testing.contract_heads import HeadContract  # noqa: E402
from otel_agent_journal.testing.contract_settling import SettlingContract  # noqa: E402

__all__ = ["StoreContract"]


class StoreContract(
    EventContract,
    CatchUpContract,
    ContextContract,
    HeadContract,
    SettlingContract,
    DocumentContract,
    AdminContract,
    DeletingContract,
):
    """All that a backend must do."""
