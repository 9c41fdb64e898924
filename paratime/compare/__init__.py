"""Mixers side by side: the same budget, on every kind of data.

``size_for`` finds the size at which a model has a number of parameters; ``pipes`` writes a table in
Markdown.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.compare.matching import size_for as size_for
    from paratime.compare.tables import pipes as pipes

__getattr__, __dir__, __all__ = lazy.attach(__name__)
