"""Shards weights, gradients and optimiser states over processes (FSDP2)."""

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import Shard

from paratime.errors import InputError


def shard_(task: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard a LightningModule block by block; its other modules form one unit.

    Args:
        task: The LightningModule, each of whose steps is a forward pass.
        blocks: Modules whose weights are gathered for their own forward and backward pass alone.
        mesh: One-dimensional mesh of the processes that each hold a shard.
    """
    if isinstance(task, FSDPModule):
        return
    evenly = partial(_even_axis, parts=mesh.size())
    for block in blocks:
        fully_shard(block, mesh=mesh, shard_placement_fn=evenly)
    fully_shard(task, mesh=mesh, shard_placement_fn=evenly)
    for stage in ("training", "validation", "test", "predict"):
        register_fsdp_forward_method(task, f"{stage}_step")


def _even_axis(weight: nn.Parameter, parts: int) -> Shard:
    """Return an axis that can be cut evenly, preferably the first.

    For example, four heads would leave half of eight processes without a shard.
    """
    even = [axis for axis, size in enumerate(weight.shape) if size % parts == 0]
    if not even or even[0] == 0:
        return Shard(0)
    return Shard(max(even, key=lambda axis: weight.shape[axis]))


def data_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """Return the data-parallel part of Lightning's mesh; refuse tensor parallelism."""
    if mesh["tensor_parallel"].size() > 1:
        raise InputError(
            "tensor_parallel_size",
            expected="1",
            got=str(mesh["tensor_parallel"].size()),
            remedy="give the strategy data_parallel_size: <processes>, tensor_parallel_size: 1 "
            "(its defaults are the other way round)",
        )
    return mesh["data_parallel"]
