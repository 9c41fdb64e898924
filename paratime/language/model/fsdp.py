"""Weights, gradients and moments of a language model spread over processes (FSDP2)."""

from functools import partial
from typing import TYPE_CHECKING

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import Shard

from paratime.errors import InputError

if TYPE_CHECKING:
    from paratime.language.model.task import LanguageTask


def shard_(task: "LanguageTask", mesh: DeviceMesh) -> None:
    """Shard a model block by block; embedding, head and last norm are a unit of their own.

    Args:
        task: The model.
        mesh: One-dimensional mesh of the processes that each hold a part.
    """
    if isinstance(task, FSDPModule):
        return
    evenly = partial(_even_axis, parts=mesh.size())
    for block in task.encoder.blocks:
        fully_shard(block, mesh=mesh, shard_placement_fn=evenly)
    fully_shard(task, mesh=mesh, shard_placement_fn=evenly)
    register_fsdp_forward_method(task, "losses")


def _even_axis(weight: nn.Parameter, parts: int) -> Shard:
    """Return an axis that can be cut evenly, the first if it can.

    Four heads would leave half of eight processes without a part of their projection.
    """
    even = [axis for axis, size in enumerate(weight.shape) if size % parts == 0]
    if not even or even[0] == 0:
        return Shard(0)
    return Shard(max(even, key=lambda axis: weight.shape[axis]))


def data_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """Return the processes of Lightning's mesh that see other data; refuse others."""
    if mesh["tensor_parallel"].size() > 1:
        remedy = (
            "give the strategy data_parallel_size: <processes>, tensor_parallel_size: 1 "
            "(its defaults are the other way round)"
        )
        got = str(mesh["tensor_parallel"].size())
        raise InputError("tensor_parallel_size", "1", got, remedy)
    return mesh["data_parallel"]
