"""Bytes from anywhere never crash a decoder, nor keep it busy: there is a result, or the error that is documented."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.decoders import decode
from tests.fuzz.inputs import changed, seeds

SECONDS = 600 if os.environ.get("AGENT_JOURNAL_SOAK") else 60
ROOT = Path(__file__).parents[2]


@pytest.mark.long_form
@pytest.mark.timeout(SECONDS + 120)
def test_any_bytes(tmp_path: Path) -> None:
    """A minute of inputs, made to reach what was not reached before; the long form takes ten."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz", str(SECONDS), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=SECONDS + 90,
        check=False,
    )
    said = done.stdout + done.stderr
    culprits = [(file.name, file.read_bytes()) for file in tmp_path.iterdir() if file.is_file()]
    assert done.returncode == 0, f"{said[-6000:]}\n{culprits}"
    tried = re.search(r"(?:number_of_executed_units:|tried) +(\d+)", said)
    assert tried is not None, said
    assert int(tried.group(1)) > SECONDS * 10


@pytest.mark.parametrize("number", range(len(seeds())))
def test_where_it_begins(number: int) -> None:
    """Real requests are read as such, and so are those that are changed in one place."""
    seed = seeds()[number]
    decode(seed)
    if seed[0] < 4:
        chance = random.Random(number)
        for _ in range(30):
            decode(changed(seed, chance.getrandbits(32)) or b"")
