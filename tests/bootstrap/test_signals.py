"""Waiting for a child: what ends it is heard of, whoever else the kernel tells."""

from __future__ import annotations

import subprocess
import sys

LOST = """
import subprocess, sys, threading, time
from otel_agent_journal.bootstrap.signals import held_signals, wait_for_child

# One that was there before signals are held, and so may be given any of them.
threading.Thread(target=threading.Event().wait, daemon=True).start()


class Late(subprocess.Popen):
    '''A child that ends just after it was looked at, while nobody waits for a signal.'''

    def poll(self):
        code = super().poll()
        if code is None:
            time.sleep(0.3)
        return code


with held_signals() as unheld:
    child = Late([sys.executable, "-c", "import time; time.sleep(0.1)"], **unheld)
    print(wait_for_child(child))
"""


def test_a_child_that_ends_while_another_thread_hears_of_it() -> None:
    """Its end is seen all the same: a signal goes to whichever thread does not hold it."""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LOST], capture_output=True, encoding="utf-8", timeout=20, check=True
        )
        assert (done.stdout, done.stderr) == ("0\n", "")
