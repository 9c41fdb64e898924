"""Import this first: it lets scripts find the package of their checkout, installed or not."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[2]))
