from pathlib import Path

import pytest
from simt.programs import compiled

from paratime.ops.native import build, targets


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled scheduler, which is the same for all programs: it has no sanitizers."""
    if targets.compiler() is None:
        pytest.skip("there is no C++ compiler")
    folder = tmp_path_factory.mktemp("simt")
    return compiled("-O1", "-c", build.sources() / "simt" / "simt.cpp", folder / "simt.o")
