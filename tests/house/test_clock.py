"""What is late is tried again, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRIED = """
from itertools import count
from tests.clock import by_the_clock, in_time

late, always, wrong = count(), count(), count()

@by_the_clock
def test_late_once():
    in_time(1 - next(late), 0.5)

@by_the_clock
def test_late_each_time():
    in_time(1 + next(always), 0.5)

@by_the_clock
def test_wrong_once():
    assert next(wrong) == 1
"""


def test_what_is_late_is_tried_three_times(tmp_path: Path) -> None:
    """Late once passes; late each time fails after three; wrong once fails at once."""
    (tmp_path / "test_tried.py").write_text(TRIED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_rerunfailures", "test_tried.py"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert "2 failed, 1 passed, 3 rerun" in done.stdout, done.stdout
