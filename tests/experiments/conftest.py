"""The scripts of ``experiments/cuda`` import each other by name, and so do their tests."""

import sys
from pathlib import Path

for _name in ("cuda", "state_tracking"):
    sys.path.append(str(Path(__file__).parents[2] / "experiments" / _name))
