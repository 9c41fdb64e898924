"""Layers over time, under the contract of ``Mixer``.

``Recurrent`` runs any cell, ``ParaGRU`` and ``ParaLSTM`` two of them; ``CausalConv`` convolves. A
``Block`` puts ``RMSNorm``, a mixer and ``SwiGLU`` into a residual; an ``Encoder`` stacks blocks.
``Stacked`` puts layers of any mixer on top of one another, in one direction or two.
``count_parameters`` counts what a module learns.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.layers.block import Block as Block
    from paratime.layers.block import SwiGLU as SwiGLU
    from paratime.layers.conv import CausalConv as CausalConv
    from paratime.layers.encoder import Encoder as Encoder
    from paratime.layers.mixer import Mixer as Mixer
    from paratime.layers.mixer import count_parameters as count_parameters
    from paratime.layers.norm import RMSNorm as RMSNorm
    from paratime.layers.recurrent import ParaGRU as ParaGRU
    from paratime.layers.recurrent import ParaLSTM as ParaLSTM
    from paratime.layers.recurrent import Recurrent as Recurrent
    from paratime.layers.stacked import Stacked as Stacked

__getattr__, __dir__, __all__ = lazy.attach(__name__)
