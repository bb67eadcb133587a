"""An agent that streams an answer, and never ends by itself: run under `run --ui` by the viewer's tests.

Says its process id on stdout once its first words are on their way.
"""

from __future__ import annotations

import os
import time

from otel_agent_journal import session

WORDS = "I will now compare the"

with session("talking", agent="researcher", input="What is left?") as run, run.step("model", "claude") as answer:
    for word in WORDS.split():
        answer.chunk(f"{word} ")
        time.sleep(0.3)
    print(os.getpid(), flush=True)
    time.sleep(600)
