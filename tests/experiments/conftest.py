"""The scripts of an experiment import each other by name, and so do their tests."""

import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
sys.path += [str(EXPERIMENTS / name) for name in ("cuda", "dynamics")]
