"""Tools in separate processes that synchronise through an embedded journal."""

from __future__ import annotations

from tests.e2e.conftest import Workdir
from tests.e2e.training_workflow import check


def test_on_the_embedded_store(workdir: Workdir) -> None:
    """Whoever needs a result waits for it in the journal, in whatever order the tools were started."""
    check(workdir, f"sqlite:///{workdir.path}/journal.db")
