"""Tools in separate processes that synchronise through a journal in S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Workdir
from tests.e2e.training_workflow import check
from tests.real.backends import Backend
from tests.real.servers import Server


@pytest.mark.timeout(240)
def test_on_s3(minio_server: Server, aws: None, tmp_path: Path) -> None:
    """The same as on the embedded store; each process has a connection of its own."""
    check(Workdir(tmp_path), Backend("s3", minio_server).fresh(), pace_s=0.2)
