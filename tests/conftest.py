import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
import torch

from paratime.ops.native import library, targets


@pytest.fixture(autouse=True)
def reproducible() -> Iterator[None]:
    """Seed every test, and fill uninitialised memory with NaN."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def pytest_configure(config: pytest.Config) -> None:
    """Name warnings of packages that only some machines have; pytest imports their classes."""
    if find_spec("jsonargparse") is not None:
        deprecated = "jsonargparse._deprecated.JsonargparseDeprecationWarning"
        config.addinivalue_line("filterwarnings", f"ignore::{deprecated}")  # Lightning's use of it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", help="run the tests of kernels on this backend alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of kernels on those for every capability of this processor, and on their twin."""
    only = metafunc.config.getoption("backend")
    backends = (only,) if only else library.backends()
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", backends, indirect=True)
    if "capability" in metafunc.fixturenames:
        others = (library.REFERENCE, targets.SIMT)
        kernels = [name for name in backends if name not in others]
        metafunc.parametrize("capability", kernels, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on a backend: the kernels for a capability, or their twin."""
    with library.force_backend(request.param):
        yield request.param


@pytest.fixture
def capability(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on the kernels for a capability."""
    with library.force_backend(request.param):
        yield request.param


@pytest.fixture
def paratime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the real command line in this process; return its status, output and errors."""
    with capsys.disabled():
        import lightning.pytorch  # noqa: F401 (its log handler keeps the stderr of its import)

    def run(*args: object) -> tuple[int, str, str]:
        from paratime.__main__ import main

        monkeypatch.setattr("sys.argv", ["paratime", *map(str, args)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
