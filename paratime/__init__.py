"""Time series and world models with nonlinear recurrent networks, trained in parallel over time.

Names are imported on first use, so that ``import paratime`` costs nothing by itself.
"""

from typing import TYPE_CHECKING

from paratime import lazy, moved
from paratime.io.saved.trust import trust_modules as trust  # noqa: F401

if TYPE_CHECKING:
    from paratime.baselines.attention import Attention as Attention
    from paratime.baselines.mamba import Mamba as Mamba
    from paratime.baselines.mamba2 import Mamba2 as Mamba2
    from paratime.baselines.mamba3 import Mamba3 as Mamba3
    from paratime.baselines.mingru import MinGRU as MinGRU
    from paratime.baselines.mingru import MinLSTM as MinLSTM
    from paratime.baselines.rnn import TorchGRU as TorchGRU
    from paratime.baselines.rnn import TorchLSTM as TorchLSTM
    from paratime.cells.base import Cell as Cell
    from paratime.cells.gru import GRUCell as GRUCell
    from paratime.cells.lstm import LSTMCell as LSTMCell
    from paratime.layers.encoder import Encoder as Encoder
    from paratime.layers.mixer import Mixer as Mixer
    from paratime.layers.recurrent import ParaGRU as ParaGRU
    from paratime.layers.recurrent import ParaLSTM as ParaLSTM
    from paratime.layers.recurrent import Recurrent as Recurrent
    from paratime.layers.stacked import Stacked as Stacked
    from paratime.ops.scan import scan as scan
    from paratime.solvers.base import Solution as Solution
    from paratime.solvers.newton import Newton as Newton
    from paratime.solvers.sequential import Sequential as Sequential
    from paratime.testing import verify as verify

moved.install()

__getattr__, __dir__, __all__ = lazy.attach(__name__)
