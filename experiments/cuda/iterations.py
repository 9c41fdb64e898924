"""How many iterations the Newton kernel takes for a tile, counted in the emulation.

The model of ``roofline.py`` assumes such a number. A tile is as long as a block of 256 threads
makes it, inputs are N(0, 1), and recurrent weights those of the layer's own initialisation, or
N(0, scale^2). A count is that of the slowest of 256 channels, as the kernel reports it.
"""

import pandas as pd
import torch

from paratime import ParaGRU, ParaLSTM
from paratime.cells import Init, NormalInit, PaperInit
from paratime.ops.native import device, library, targets

LAYERS = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}
INITS: dict[str, Init] = {"paper": PaperInit()} | {
    f"scale {x:g}": NormalInit(x) for x in (0.1, 0.5, 1.0, 2.0)
}
WIDTH = 256
DRAWS = 5


def main() -> None:
    """Print the median and the most iterations, by layer, weights and channels a warp."""
    rows = [
        {"layer": name, "weights": weights} | {f"L = {x}": count(name, init, x) for x in (32, 8, 4)}
        for name in LAYERS
        for weights, init in INITS.items()
    ]
    print(f"iterations, median and most of {DRAWS} draws\n")
    print(pd.DataFrame(rows).to_string(index=False))


def count(name: str, init: Init, lanes: int) -> str:
    """Return the median and the most iterations for tiles with L channels a warp, as text."""
    found = []
    choice = device.Choice(device.PARALLEL, lanes, device.THREADS)
    with library.force_backend(targets.SIMT), device.force_choice(choice), torch.no_grad():
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            layer = LAYERS[name](WIDTH, init=init)
            layer(torch.randn(1, device.THREADS // lanes * device.SEGMENT[1], WIDTH))
            assert layer.solution is not None
            found.append(layer.solution.iterations)
    return f"{sorted(found)[DRAWS // 2]}, {max(found)}"


if __name__ == "__main__":
    main()
