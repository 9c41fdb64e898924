"""Files: found, written whole or not at all, cached, drawn, and laid out as pages.

``replacing`` writes a file and ``making`` a folder, whole or not at all; ``save_figure`` writes a
figure, and ``cache_root`` is the folder of caches.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.io.atomic import making as making
    from paratime.io.atomic import replacing as replacing
    from paratime.io.cache import cache_root as cache_root
    from paratime.io.figures import save_figure as save_figure

__getattr__, __dir__, __all__ = lazy.attach(__name__)
