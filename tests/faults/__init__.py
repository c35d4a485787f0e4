"""The fault campaign: real runs, struck at random moments, resumed, and held against one that nothing struck.

Read `kinds.py` first: the table of faults is there. `case.py` is one injection, `processes.py` starts the runs.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "src"))  # this checkout's code, whatever is installed

# Before anything imports numpy, which would start threads; for this process and for all that it starts.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of pyarrow, which pandas imports where it is there
    "WANDB_MODE": "offline",
    "MPLBACKEND": "agg",
    "PYTHONPATH": str(ROOT / "src"),
    "PYTHONFAULTHANDLER": "1",
}
