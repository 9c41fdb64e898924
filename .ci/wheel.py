"""Check an installed wheel: the layer of the README runs, on kernels that the wheel brings."""

import sys

import torch

from paratime import ParaGRU, ParaLSTM
from paratime.ops.native import build, targets

x, reset = torch.randn(4, 500, 16), torch.zeros(4, 500, dtype=torch.bool)
reset[:, 250] = True
for kind in (ParaGRU, ParaLSTM):
    layer = kind(input_size=16, hidden_size=32)
    y, state = layer(x, reset=reset)
    y.sum().backward()
    assert y.shape == (4, 500, 32), y.shape
    print(kind.__name__, layer.solution.message)
library = build.packaged(targets.cpu(targets.capabilities()[0]))
if not library.exists():
    sys.exit(f"the wheel has no {library}")
