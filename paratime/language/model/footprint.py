"""Memory and operations of a language model that need not exist: ``paratime language size``.

Nothing is allocated. Parameters are counted on the meta device; activations that a training step
keeps for its backward pass are measured on fake tensors; and the memory of each GPU is that of
FSDP2, which shards the model over fake processes.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from paratime.language.model.task import LanguageTask
from paratime.layers.block import Block
from paratime.layers.mixer import count_parameters
from paratime.training.fsdp import shard_

TaskFactory = Callable[[], LanguageTask]
"""Builds the model on the default device."""

BYTES = {"weights": 4, "gradients": 4, "moments": 8}
"""Bytes per parameter: all in float32 under ``bf16-mixed``, with the two moments of AdamW."""

TOKENS = 256


@dataclass(frozen=True)
class Activations:
    """Bytes per token that the forward pass keeps for the backward pass, in ``bf16-mixed``.

    They are measured with the CPU's operators; those of other devices keep about as much.

    Attributes:
        kept: Without recomputation.
        recomputed: With recomputation: every block keeps its input, and one block is recomputed.
    """

    kept: float
    recomputed: float


@dataclass(frozen=True)
class ShardMemory:
    """Bytes that each of several GPUs holds under FSDP2.

    Attributes:
        states: Its shard of weights, gradients and moments.
        gathered: Whole weights and gradients while they are used: those of embedding and head, of
            the current block and of the next one.
    """

    states: int
    gathered: int


def on_meta(build: TaskFactory) -> LanguageTask:
    """Build a model without memory."""
    with torch.device("meta"):
        return build()


def parameters_by_part(task: LanguageTask) -> dict[str, int]:
    """Return the number of parameters by part; tied weights count as the embedding's."""
    blocks = _blocks(task)
    parts = {
        "embedding": count_parameters(task.embedding),
        "mixers": sum(count_parameters(block.mixer) for block in blocks),
        "feed-forward": sum(count_parameters(b.mlp) for b in blocks if b.mlp is not None),
        "head": 0 if task.head.weight is task.embedding.weight else count_parameters(task.head),
    }
    return parts | {"norms and scales": count_parameters(task) - sum(parts.values())}


def activations(build: TaskFactory) -> Activations:
    """Measure the bytes per token, as the difference of two lengths, which excludes weights."""
    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics copies tensors without data
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


def memory_per_gpu(build: TaskFactory, gpus: int) -> ShardMemory:
    """Return what each GPU holds, by sharding the model over fake processes."""
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 (registers the backend)

    task = on_meta(build)
    block = count_parameters(task.encoder.blocks[0])
    rest = count_parameters(task) - count_parameters(task.encoder.blocks)
    dist.init_process_group("fake", store=dist.HashStore(), rank=0, world_size=gpus)
    try:
        shard_(task, task.blocks(), init_device_mesh("cpu", (gpus,)))
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        states = sum(BYTES.values()) * sum(part.numel() for part in parts)
    finally:
        dist.destroy_process_group()
    weights, gradients = rest + 2 * block, rest + block
    return ShardMemory(states, weights * BYTES["weights"] + gradients * BYTES["gradients"])


def _slope(run: Callable[[int], None]) -> float:
    return (_saved(run, 2 * TOKENS) - _saved(run, TOKENS)) / TOKENS


def _saved(run: Callable[[int], None], tokens: int) -> int:
    """Return the bytes kept for a backward pass; views of the same memory count once."""
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
