"""The scripts of an experiment import each other by name, and so do their tests."""

import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
NAMES = ("cuda", "convergence", "dynamics", "state_tracking")
sys.path += [str(EXPERIMENTS / name) for name in NAMES]
