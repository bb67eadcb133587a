"""An agent whose tools are processes of their own, and synchronise through the journal.

agent-journal run --session training-1 -- python workflow.py
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
JOB = sys.argv[1] if len(sys.argv) > 1 else "sentiment"

# The last one first: who needs something waits for it.
tools = [subprocess.Popen([sys.executable, str(HERE / f"{name}.py"), JOB]) for name in ("report", "check_status")]
tools.append(subprocess.Popen([sys.executable, str(HERE / "start_job.py"), JOB]))
codes = [tool.wait(600) for tool in tools]
sys.exit(max(codes))
