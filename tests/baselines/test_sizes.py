"""Sizes that no baseline can have."""

import pytest

from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.baselines.mingru import MinGRU
from paratime.errors import InputError


@pytest.mark.parametrize(
    ("build", "sizes"),
    [
        (Mamba, ("input_size", "hidden_size", "state_size", "expand", "kernel_size", "dt_rank")),
        (Mamba2, ("input_size", "hidden_size", "state_size", "expand", "kernel_size")),
        (Mamba3, ("input_size", "hidden_size", "expand", "rank")),
        (MinGRU, ("input_size", "hidden_size")),
    ],
)
@pytest.mark.parametrize("size", (0, -1))
def test_a_size_below_one_is_refused(build, sizes, size):
    for name in sizes:
        with pytest.raises(InputError, match=f"^{name}: expected at least 1, got {size}; raise it"):
            build(**({"input_size": 8} | {name: size}))


@pytest.mark.parametrize("build", (Mamba, Mamba2))
def test_a_backend_that_is_none_is_refused(build):
    with pytest.raises(InputError, match="backend: expected one of paratime, mamba_ssm, got 'cu'"):
        build(8, backend="cu")
