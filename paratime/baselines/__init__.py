"""Mixers to compare with, one file each, under the contract of ``paratime.Mixer``.

``Attention``, ``Mamba``, ``Mamba2``, ``Mamba3``, ``MinGRU``, ``MinLSTM``, ``TorchGRU`` and
``TorchLSTM``.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.baselines.attention import Attention as Attention
    from paratime.baselines.mamba import Mamba as Mamba
    from paratime.baselines.mamba2 import Mamba2 as Mamba2
    from paratime.baselines.mamba3 import Mamba3 as Mamba3
    from paratime.baselines.mingru import MinGRU as MinGRU
    from paratime.baselines.mingru import MinLSTM as MinLSTM
    from paratime.baselines.rnn import TorchGRU as TorchGRU
    from paratime.baselines.rnn import TorchLSTM as TorchLSTM

__getattr__, __dir__, __all__ = lazy.attach(__name__)
