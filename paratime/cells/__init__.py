"""Recurrences h[t] = step(u[t], h[t-1]), one a file, each with its equation.

``Cell`` is the base of all: ``GRUCell``, ``LSTMCell``, ``ElmanCell``, ``BlockElmanCell``,
``MGUCell``, ``CfCCell``, ``SLSTMCell``, ``LRUCell`` and ``BRCCell``. Parameters are drawn by an
``Init``: ``PaperInit``, ``UniformInit``, ``NormalInit`` or ``ChronoInit``.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.cells.base import Cell as Cell
    from paratime.cells.brc import BRCCell as BRCCell
    from paratime.cells.cfc import CfCCell as CfCCell
    from paratime.cells.elman import BlockElmanCell as BlockElmanCell
    from paratime.cells.elman import ElmanCell as ElmanCell
    from paratime.cells.gru import GRUCell as GRUCell
    from paratime.cells.init import ChronoInit as ChronoInit
    from paratime.cells.init import Init as Init
    from paratime.cells.init import NormalInit as NormalInit
    from paratime.cells.init import PaperInit as PaperInit
    from paratime.cells.init import UniformInit as UniformInit
    from paratime.cells.lru import LRUCell as LRUCell
    from paratime.cells.lstm import LSTMCell as LSTMCell
    from paratime.cells.mgu import MGUCell as MGUCell
    from paratime.cells.slstm import SLSTMCell as SLSTMCell

__getattr__, __dir__, __all__ = lazy.attach(__name__)
