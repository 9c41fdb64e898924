"""What a language model costs before it exists: ``paratime language size``.

Nothing is allocated: parameters are counted on the meta device, what a training step keeps for its
backward pass is found by a run on fake tensors, and the part of each GPU is that of FSDP2, which
shards the model over processes that are not there.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from paratime.language.model.fsdp import shard_
from paratime.language.model.task import LanguageTask
from paratime.layers.block import Block

Build = Callable[[], LanguageTask]
"""Makes the model, on whatever device is the default."""

BYTES = {"weights": 4, "gradients": 4, "moments": 8}
"""Bytes a parameter, all in float32 under ``bf16-mixed``, with the two moments of AdamW."""

TOKENS = 256


@dataclass(frozen=True)
class Activations:
    """Bytes a token that the forward pass keeps for the backward pass, in ``bf16-mixed``.

    They are those of the CPU's operators; other devices' are close to them.

    Attributes:
        kept: Where every block keeps all that it needs.
        recomputed: Where every block keeps its input, and one is being computed anew.
    """

    kept: float
    recomputed: float


@dataclass(frozen=True)
class Part:
    """Bytes that one of several GPUs holds.

    Attributes:
        states: Its part of weights, gradients and moments.
        gathered: Whole weights and gradients while they are used: embedding and head, the block at
            work and the one that comes next.
    """

    states: int
    gathered: int


def on_meta(build: Build) -> LanguageTask:
    """Return a model without memory."""
    with torch.device("meta"):
        return build()


def parameters_by_part(task: LanguageTask) -> dict[str, int]:
    """Return the number of parameters of each part; tied weights count as the embedding's."""
    blocks = _blocks(task)
    parts = {
        "embedding": _count(task.embedding),
        "mixers": sum(_count(block.mixer) for block in blocks),
        "feed-forward": sum(_count(b.mlp) for b in blocks if b.mlp is not None),
        "head": 0 if task.head.weight is task.embedding.weight else _count(task.head),
    }
    return parts | {"norms and scales": _count(task) - sum(parts.values())}


def activations(build: Build) -> Activations:
    """Return what a token costs: the difference of two lengths, so that weights do not enter."""
    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics copies tensors that have no data
        task = build()
        blocks, width = _blocks(task), task.encoder.width
        for block in blocks:
            block.recompute = False

        def whole(tokens: int) -> None:
            ids = torch.zeros(1, tokens, dtype=torch.long)
            task.losses({"inputs": ids, "targets": ids, "reset": None})  # type: ignore[dict-item]

        def one(tokens: int) -> None:
            blocks[0](torch.zeros(1, tokens, width, requires_grad=True))

        kept, of_one = _slope(whole), _slope(one)
    depth = len(blocks)
    return Activations(kept, kept - (depth - 1) * of_one + depth * width * 4)


def part_of(build: Build, gpus: int) -> Part:
    """Return what one of some GPUs holds; the model is really sharded, over fake processes."""
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 (registers the backend)

    task = on_meta(build)
    block = _count(task.encoder.blocks[0])
    rest = _count(task) - _count(task.encoder.blocks)
    dist.init_process_group("fake", store=dist.HashStore(), rank=0, world_size=gpus)
    try:
        shard_(task, init_device_mesh("cpu", (gpus,)))
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        states = sum(BYTES.values()) * sum(part.numel() for part in parts)
    finally:
        dist.destroy_process_group()
    weights, gradients = rest + 2 * block, rest + block
    return Part(states, weights * BYTES["weights"] + gradients * BYTES["gradients"])


def _slope(run: Callable[[int], None]) -> float:
    return (_saved(run, 2 * TOKENS) - _saved(run, TOKENS)) / TOKENS


def _saved(run: Callable[[int], None], tokens: int) -> int:
    """Return the bytes that are kept for a backward pass; views of the same memory count once."""
    held: dict[int, Tensor] = {}

    def note(x: Tensor) -> Tensor:
        held[x.untyped_storage()._cdata] = x
        return x

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda x: x)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        run(tokens)
    return sum(x.untyped_storage().nbytes() for x in held.values())


def _blocks(task: LanguageTask) -> list[Block]:
    return [block for block in task.encoder.blocks if isinstance(block, Block)]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
