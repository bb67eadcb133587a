"""A server is started by tests and does not outlive them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys

import psutil

from tests.real.servers import ROOT

STARTING = """
import os, signal, subprocess
from tests.real.servers import tied
server = subprocess.Popen([*tied(), "sh", "-c", "echo $$; exec sleep 600"], stdout=subprocess.PIPE, text=True)
print(server.stdout.readline(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_ends_with_its_tests() -> None:
    """Killed, who started a server takes it along."""
    done = subprocess.run([sys.executable, "-c", STARTING], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(30)
