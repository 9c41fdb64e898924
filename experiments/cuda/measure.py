"""What is timed, as jobs in order of importance: each gives rows, and names what must be right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from clock import Clock, Work, quartiles
from contestants import METHODS, Contestant, contestants, preferring
from torch import Tensor, nn

from paratime import Encoder, Mamba2, Mixer, ParaGRU, ParaLSTM
from paratime.baselines import TorchGRU
from paratime.ops.native import device, library
from paratime.ops.recurrence import gru, lstm

Row = dict[str, object]
Shape = tuple[int, int, int]
"""B, T and D."""

CELLS = {"gru1": (gru, 3, "ParaGRU"), "lstm1": (lstm, 5, "ParaLSTM")}
"""Operators whose kernels are timed alone, the rows of their weights, and their layers."""

MIXERS: dict[str, tuple[Callable[[int], Mixer], tuple[str, ...]]] = {
    "ParaGRU": (partial(ParaGRU, heads=4), ("ParaGRU",)),
    "ParaLSTM": (partial(ParaLSTM, heads=4), ("ParaLSTM",)),
    "torch.nn.GRU": (TorchGRU, ()),
    "Mamba2": (Mamba2, ()),
}
"""Mixers of the language model, and whose kernels they run on."""

DTYPES = {name: dtype for dtype, name in library.FORMATS.items()}


@dataclass(frozen=True)
class Sizes:
    """How large everything is that is timed.

    Attributes:
        training: Shapes of the kernels of whole models.
        layers: Shapes of layers next to others' layers.
        channels: Of one sequence, over which both methods are timed.
        steps: Of that sequence.
        formats: In which kernels are timed by both methods; the first two are those of the rest.
        language: B, T, width, blocks and vocabulary of a language model.
        gate: Shape at which kernels are held against the CPU.
    """

    training: tuple[Shape, ...]
    layers: tuple[Shape, ...]
    channels: tuple[int, ...]
    steps: int
    formats: tuple[str, ...]
    language: tuple[int, int, int, int, int]
    gate: Shape


PAPER = ((16, 2048, 1024), (8, 2048, 2048), (8, 2048, 4096))
"""Of 400M, 1B and 7B parameters, at the batch sizes of ``configs/language``."""

QUICK = Sizes(
    PAPER,
    layers=((16, 2048, 1024), (1, 8192, 1024)),
    channels=tuple(64 * 4**i for i in range(6)),
    steps=2048,
    formats=("bfloat16", "float32"),
    language=(8, 2048, 1024, 12, 50432),
    gate=(3, 700, 96),
)
FULL = Sizes(
    PAPER,
    layers=(
        (1, 512, 256),
        (1, 8192, 1024),
        (1, 65536, 128),
        (8, 2048, 1024),
        (32, 512, 512),
        (64, 2048, 1024),
    ),
    channels=tuple(64 * 2**i for i in range(11)),
    steps=2048,
    formats=("bfloat16", "float32", "float16", "float64"),
    language=QUICK.language,
    gate=QUICK.gate,
)
DRY = Sizes(
    ((2, 6, 8),),
    layers=((1, 8, 16),),
    channels=(64, 128),
    steps=8,
    formats=("bfloat16", "float32"),
    language=(1, 8, 8, 2, 11),
    gate=(1, 20, 8),
)


@dataclass(frozen=True)
class Job:
    """One thing to be timed.

    Attributes:
        what: Its stage: ``"kernel"``, ``"layer"``, ``"method"`` or ``"language"``.
        name: What it is, for people.
        format: Of its numbers.
        rows: Times it, and yields its rows.
        needs: Layers and methods whose kernels must be right in this format.
        ours: Whether it must run; what others cannot do is no error.
    """

    what: str
    name: str
    format: str
    rows: Callable[[Clock], Iterator[Row]]
    needs: tuple[tuple[str, str], ...] = ()
    ours: bool = True


def jobs(where: torch.device, sizes: Sizes) -> list[Job]:
    """Return all jobs on a device, the most important ones first."""
    return [
        *kernel_jobs(where, sizes),
        *layer_jobs(where, sizes),
        *method_jobs(where, sizes),
        *language_jobs(where, sizes),
    ]


def kernel_jobs(where: torch.device, sizes: Sizes) -> Iterator[Job]:
    """Kernels at the shapes of training, by default, next to a copy of as many bytes."""
    for shape, cell, format in product(sizes.training, CELLS, sizes.formats[:2]):
        rows = partial(_kernel, cell, shape, format, where)
        needs = tuple((CELLS[cell][2], method) for method in METHODS)
        yield Job("kernel", f"{cell} {spelled(shape)}", format, rows, needs)


def layer_jobs(where: torch.device, sizes: Sizes) -> Iterator[Job]:
    """Layers by every path, next to torch's (cuDNN's on a GPU) and those of peers."""
    for shape, format in product(sizes.layers, sizes.formats[:2]):
        for name, contestant in contestants(*shape[1:]).items():
            rows = partial(_layer, name, contestant, shape, format, where)
            title = f"{name} {spelled(shape)}"
            yield Job("layer", title, format, rows, contestant.needs, contestant.ours)


def method_jobs(where: torch.device, sizes: Sizes) -> Iterator[Job]:
    """Both methods over the channels of one sequence."""
    for format, cell, width in product(sizes.formats, CELLS, sizes.channels):
        shape = (1, sizes.steps, width)
        rows = partial(_methods, cell, shape, format, where)
        needs = tuple((CELLS[cell][2], method) for method in METHODS)
        yield Job("method", f"{cell} {spelled(shape)}, both methods", format, rows, needs)


def language_jobs(where: torch.device, sizes: Sizes) -> Iterator[Job]:
    """Training steps of a language model, with several mixers."""
    for name, (mixer, layers) in MIXERS.items():
        rows = partial(_language, name, mixer, sizes.language, where)
        needs = tuple(product(layers, METHODS))
        blocks, width = sizes.language[3], sizes.language[2]
        yield Job("language", f"{name}, {blocks} blocks of {width}", "bfloat16", rows, needs)


def spelled(shape: Sequence[int]) -> str:
    """Return a shape as text."""
    return " x ".join(map(str, shape))


def _kernel(
    cell: str, shape: Shape, format: str, where: torch.device, clock: Clock
) -> Iterator[Row]:
    for direction, (work, size, method) in kernel_passes(cell, shape, format, where).items():
        times = quartiles(clock(work))
        copy = quartiles(clock(_copy(size, where)))["ms"]
        start = _start("kernel", cell, method, format, shape, direction)
        yield start | times | {"bytes": size, "copy_ms": copy, "share": copy / times["ms"]}


def _methods(
    cell: str, shape: Shape, format: str, where: torch.device, clock: Clock
) -> Iterator[Row]:
    passes = kernel_passes(cell, shape, format, where)
    for method, (direction, (work, *_)) in product(METHODS, passes.items()):
        with preferring(method):
            times = quartiles(clock(work))
        yield _start("method", cell, method, format, shape, direction) | times


def kernel_passes(
    cell: str, shape: Shape, format: str, where: torch.device
) -> dict[str, tuple[Work, int, str]]:
    """Return an operator's passes on random values: work, bytes of its tensors, and method."""
    (op, weights, _), (batch, steps, channels) = CELLS[cell], shape
    torch.manual_seed(0)
    u = torch.randn(batch, steps, 3, channels, device=where, dtype=DTYPES[format])
    exact = torch.float64 if u.dtype == torch.float64 else torch.float32
    h0 = torch.zeros(batch, op.sizes(1)[0], channels, device=where, dtype=exact)
    weight = 0.1 * torch.randn(weights, channels, device=where, dtype=exact)
    inputs = u, weight, h0, None, None
    found = op.forward(*inputs)
    y, memory = found[:2]
    g = torch.randn_like(y)
    read = _bytes(g, y, memory, *inputs)
    works = {
        "forward": (lambda: op.forward(*inputs), _bytes(*found, *inputs)),
        "backward": (
            lambda: op.backward(g, None, y, memory, *inputs),
            read + _bytes(u, weight, h0),
        ),
    }
    return {x: (*work, device.choose(x, u).method) for x, work in works.items()}


def _bytes(*tensors: Tensor | None) -> int:
    return sum(x.numel() * x.element_size() for x in tensors if x is not None)


def _copy(size: int, where: torch.device) -> Work:
    """Return a copy that reads and writes so many bytes in all."""
    source = torch.zeros(max(1, size // 2), dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _layer(
    name: str,
    contestant: Contestant,
    shape: Shape,
    format: str,
    where: torch.device,
    clock: Clock,
) -> Iterator[Row]:
    torch.manual_seed(0)
    x = torch.randn(shape, device=where).to(DTYPES[format])
    for direction, work in contestant.passes(x).items():
        with contestant.prepared():
            times = quartiles(clock(work))
        yield _start("layer", name, contestant.method or "", format, shape, direction) | times


def _language(
    name: str,
    mixer: Callable[[int], Mixer],
    sizes: tuple[int, int, int, int, int],
    where: torch.device,
    clock: Clock,
) -> Iterator[Row]:
    batch, steps, width, _, _ = sizes
    times = quartiles(clock(training_step(mixer, sizes, where)))
    start = _start("language", name, "", "bfloat16", (batch, steps, width), "step")
    yield start | times | {"tokens/s": 1e3 * batch * steps / times["ms"]}


def training_step(
    mixer: Callable[[int], Mixer], sizes: tuple[int, int, int, int, int], where: torch.device
) -> Work:
    """Return a step as users take it: bf16-mixed, forward, loss, backward, clipping and AdamW."""
    from paratime.language import LanguageTask, TokenSpec
    from paratime.training import AdamW, parameter_groups

    batch, steps, width, blocks, vocabulary = sizes
    torch.manual_seed(0)
    model = LanguageTask(Encoder(width, blocks, mixer), TokenSpec(vocabulary)).to(where)
    ids = torch.randint(vocabulary, (batch, steps + 1), device=where)
    data: dict[str, Tensor] = {"inputs": ids[:, :-1], "targets": ids[:, 1:], "reset": None}  # type: ignore[dict-item]
    optimizer = AdamW().build(model, parameter_groups(model, 0.1))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(where.type, torch.bfloat16):
            loss = model.losses(data)[0]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _start(
    what: str, contestant: str, method: str, format: str, shape: Shape, direction: str
) -> Row:
    start: Row = {"what": what, "contestant": contestant, "method": method, "format": format}
    return start | dict(zip("BTD", shape, strict=True)) | {"pass": direction}
