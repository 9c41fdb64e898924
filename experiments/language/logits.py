"""Time and memory of the loss at a large vocabulary, in chunks and from all logits at once.

Each way runs in a process of its own, so that the peak of its memory is its own; the other way's
loss and gradients must be the same.

    python experiments/language/logits.py       # half a minute on one core
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from paratime.io import replacing
from paratime.language import next_token_loss, next_token_loss_reference

RESULTS = Path(__file__).parent / "logits.csv"
ROWS, WIDTH, VOCABULARY, Z_LOSS = 1024, 384, 50432, 1e-4
REPEATS, ERROR = 4, 1e-4
WAYS = {"chunks": next_token_loss, "at once": next_token_loss_reference}


def main() -> None:
    """Run each way, write and print."""
    done = [
        subprocess.run([sys.executable, __file__, way], check=True, capture_output=True, text=True)
        for way in WAYS
    ]
    found = [[float(x) for x in process.stdout.split()] for process in done]
    gap = max(abs(a / b - 1) for a, b in zip(found[0][2:], found[1][2:], strict=True))
    if gap > ERROR:
        raise SystemExit(f"the ways differ by {gap:.1e}, more than {ERROR:.0e}")
    rows = [
        {"way": way, "seconds": seconds, "added_mb": added, "gap": gap}
        for way, (seconds, added, *_) in zip(WAYS, found, strict=True)
    ]
    table = pd.DataFrame(rows)
    with replacing(RESULTS) as draft:
        table.to_csv(draft, index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))


def measure(way: str) -> list[float]:
    """Return seconds, megabytes added at the peak, loss, and sizes of the gradients."""
    torch.manual_seed(0)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    weight = (torch.randn(VOCABULARY, WIDTH) * WIDTH**-0.5).requires_grad_()
    targets = torch.randint(VOCABULARY, (ROWS,))
    before, seconds = peak(), []
    for _ in range(REPEATS):
        x.grad = weight.grad = None
        began = time.perf_counter()
        loss, _ = WAYS[way](x, weight, targets, Z_LOSS)
        loss.backward()
        seconds.append(time.perf_counter() - began)
    assert x.grad is not None and weight.grad is not None
    sizes = [float(y) for y in (loss.detach(), x.grad.norm(), weight.grad.norm())]
    return [statistics.median(seconds), peak() - before, *sizes]


def peak() -> float:
    """Return the most memory that this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*measure(sys.argv[1]))
    else:
        main()
