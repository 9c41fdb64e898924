"""Where modules are built, how precise they are, and what they print: as torch's own do."""

import copy
import inspect

import pytest
import torch
from cases import INPUT, MIXERS, MORE_CELLS, WIDTH, ElmanMixer
from torch import nn

from paratime.baselines.attention import Attention
from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import GatedNorm, Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.baselines.mingru import MinGRU, MinLSTM
from paratime.baselines.rnn import TorchGRU, TorchLSTM
from paratime.baselines.ssm import Conv1d
from paratime.cells.brc import BRCCell
from paratime.cells.cfc import CfCCell
from paratime.cells.elman import BlockElmanCell, ElmanCell
from paratime.cells.gru import GRUCell
from paratime.cells.init import ChronoInit, NormalInit, UniformInit
from paratime.cells.lru import LRUCell
from paratime.cells.lstm import LSTMCell
from paratime.cells.mgu import MGUCell
from paratime.cells.projection import Projection
from paratime.cells.slstm import SLSTMCell
from paratime.layers.block import Block, Gated, SwiGLU
from paratime.layers.conv import CausalConv
from paratime.layers.encoder import Encoder
from paratime.layers.norm import RMSNorm
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.layers.stacked import Stacked
from paratime.solvers.newton import Newton

SIZE = 16
LAYERS = {
    ParaGRU: {"block_size": 4, "heads": 2},
    ParaLSTM: {"block_size": 2, "init": ChronoInit(1e6)},
    CausalConv: {"kernel_size": 3},
    SwiGLU: {"hidden": 24},
    RMSNorm: {},
    MinGRU: {"heads": 2},
    MinLSTM: {},
    TorchGRU: {},
    TorchLSTM: {},
    Attention: {"heads": 2, "window": 3},
    Mamba: {"state_size": 3},
    Mamba2: {"state_size": 4, "head_size": 8, "groups": 2},
    Mamba3: {"state_size": 8, "rank": 2},
}
"""Options of layers that are built from one width."""

CELLS = {
    GRUCell: {"block_size": 2, "init": UniformInit()},
    LSTMCell: {"block_size": 2, "init": ChronoInit(100.0)},
    MGUCell: {"init": NormalInit(2.0)},
    CfCCell: {"time_channel": 0},
    SLSTMCell: {},
    LRUCell: {"r_max": 0.99999},
    BRCCell: {},
    ElmanCell: {},
    BlockElmanCell: {"block_size": 4, "gain": 2.0},
}


def drawn_projection(**at):
    made = Projection(SIZE, 3, SIZE, 2, **at)
    UniformInit().input_(made)
    return made


OTHERS = {
    "Projection": drawn_projection,
    "Conv1d": lambda **at: Conv1d(SIZE, 4, **at),
    "GatedNorm": lambda **at: GatedNorm(SIZE, 2, **at),
    "Gated": lambda **at: Gated(SIZE, ElmanMixer, **at),
    "Block": lambda **at: Block(SIZE, lambda width: ParaGRU(width), mlp_size=24, **at),
    "Encoder": lambda **at: Encoder(SIZE, 2, Mamba, mlp_size=24, **at),
    "Stacked": lambda **at: Stacked(ParaGRU, SIZE, num_layers=2, bidirectional=True, **at),
}


def _builds():
    for kind, options in LAYERS.items():
        yield kind.__name__, lambda kind=kind, options=options, **at: kind(SIZE, **options, **at)
    for kind, options in CELLS.items():
        yield (
            kind.__name__,
            lambda kind=kind, options=options, **at: kind(SIZE, SIZE, **options, **at),
        )
    yield from OTHERS.items()


BUILDS = dict(_builds())
BY_NAME = pytest.mark.parametrize("name", BUILDS)


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if hasattr(module, "drive"):
        u = module.drive(x)
        return module.step(u, u.new_zeros(*u.shape[:2], *module.state_shape))
    if isinstance(module, Conv1d):
        return module(x, x.new_zeros(len(x), 3, x.shape[2]), None, None)[0]
    y = module(x, x) if isinstance(module, GatedNorm) else module(x)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("dtype", (torch.float64, torch.bfloat16), ids=str)
@BY_NAME
def test_a_module_is_built_in_a_precision(name, dtype):
    made, like = BUILDS[name](dtype=dtype), BUILDS[name]().to(dtype)
    tensors = made.state_dict()
    assert {k: (x.shape, x.dtype) for k, x in tensors.items()} == {
        k: (x.shape, x.dtype) for k, x in like.state_dict().items()
    }
    assert all(x.isfinite().all() for x in tensors.values())
    y = run(made, torch.rand(2, 5, SIZE).to(dtype))
    assert y.dtype == dtype and y.isfinite().all()


@torch.no_grad()
@BY_NAME
def test_what_is_drawn_follows_the_same_distribution(name):
    for dtype in (torch.float64, torch.bfloat16):
        made, like = BUILDS[name](dtype=dtype), BUILDS[name]()
        for (parameter, x), y in zip(made.named_parameters(), like.parameters(), strict=True):
            width = max(float(y.abs().max()), 1e-3)
            assert float((x.double().mean() - y.double().mean()).abs()) <= 2 * width, parameter
            constant = float(y.std(correction=0)) <= 1e-6
            assert constant == (float(x.double().std(correction=0)) <= 1e-6), parameter
            assert float(x.abs().max()) <= 4 * width, parameter


@pytest.mark.parametrize("device", ("meta", torch.device("meta")), ids=repr)
@BY_NAME
def test_a_module_is_built_on_a_device(name, device):
    made, like = BUILDS[name](device=device), BUILDS[name]()
    for key, x in made.state_dict().items():
        assert x.device.type == "meta" and x.shape == like.state_dict()[key].shape
    filled = made.to_empty(device="cpu")
    filled.load_state_dict(like.state_dict())
    x = torch.rand(2, 5, SIZE)
    assert torch.equal(run(filled, x), run(like, x))


@BY_NAME
def test_the_defaults_draw_the_same_values_under_any_context(name):
    torch.manual_seed(1)
    expected = BUILDS[name]().state_dict()
    torch.manual_seed(1)
    found = BUILDS[name](device="cpu", dtype=torch.float32).state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(x, found[key]) for key, x in expected.items())
    with torch.device("meta"):
        assert {x.device.type for x in BUILDS[name]().state_dict().values()} == {"meta"}


@BY_NAME
def test_device_and_dtype_are_keywords(name):
    kind = type(BUILDS[name]())
    if kind is not RMSNorm:  # torch's own
        for argument in ("device", "dtype"):
            found = inspect.signature(kind).parameters[argument]
            assert found.kind is found.KEYWORD_ONLY and found.default is None


def test_half_of_the_default_precision_draws_finite_values():
    torch.set_default_dtype(torch.bfloat16)
    try:
        made = [build() for build in BUILDS.values()]
    finally:
        torch.set_default_dtype(torch.float32)
    for module in made:
        assert all(p.isfinite().all() and p.dtype == torch.bfloat16 for p in module.parameters())


def test_a_mixer_that_knows_its_width_alone_is_cast_to_its_block():
    block = Block(SIZE, ElmanMixer, device="cpu", dtype=torch.float64)
    assert {p.dtype for p in block.parameters()} == {torch.float64}
    kept = Block(SIZE, lambda width: ParaGRU(width, dtype=torch.float64))
    assert {p.dtype for p in kept.core.parameters()} == {torch.float64}


EXPECTED = {
    "ParaGRU(4, 8)": (ParaGRU(4, 8), "4, 8"),
    "ParaGRU(4)": (ParaGRU(4), "4, 4"),
    "ParaGRU(4, 8, block_size=2)": (ParaGRU(4, 8, block_size=2), "4, 8, block_size=2"),
    "by Newton": (
        ParaLSTM(4, 8, solver=Newton(chunk=3)),
        "4, 8, solver=Newton(chunk=3, tol=None, max_iters=None)",
    ),
    "init": (GRUCell(4, 8, init=NormalInit(2.0)), "4, 8, init=NormalInit(scale=2.0)"),
    "Attention": (Attention(8, heads=2, window=5), "8, 8, heads=2, window=5"),
    "Encoder": (Encoder(8, 2, mlp_size=16), "8, 2, mlp_size=16"),
    "CausalConv": (CausalConv(8), "8"),
    "TorchGRU": (TorchGRU(4, 8), "4, 8"),
    "Projection": (Projection(4, 3, 8, 2), "4, 3, 8, 2"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_sizes_are_printed(name):
    module, expected = EXPECTED[name]
    assert module.extra_repr() == expected
    assert expected in repr(module)


@BY_NAME
def test_every_module_prints_its_sizes(name):
    made = BUILDS[name]()
    assert str(SIZE) in made.extra_repr()
    assert repr(copy.deepcopy(made)) == repr(made)


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_prints_its_width(name):
    assert str(WIDTH) in MIXERS[name]().extra_repr()


@pytest.mark.parametrize("name", MORE_CELLS)
def test_every_cell_prints_its_width(name):
    made = MORE_CELLS[name](1.0)
    assert "32" in made.extra_repr() and str(INPUT) in repr(made)
