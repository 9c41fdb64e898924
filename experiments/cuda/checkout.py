"""Import this first: when a script began, and the package of its checkout, installed or not."""

import sys
import time
from pathlib import Path

BEGAN = time.monotonic()
sys.path.insert(1, str(Path(__file__).parents[2]))
