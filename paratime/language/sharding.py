"""Weights, gradients and moments of a language model spread over processes (FSDP2)."""

from typing import TYPE_CHECKING

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from paratime.errors import InputError

if TYPE_CHECKING:
    from paratime.language.task import LanguageTask


def shard_(task: "LanguageTask", mesh: DeviceMesh) -> None:
    """Shard a model block by block; embedding, head and last norm are a unit of their own.

    Args:
        task: The model.
        mesh: One-dimensional mesh of the processes that each hold a part.
    """
    if isinstance(task, FSDPModule):
        return
    for block in task.encoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(task, mesh=mesh)
    register_fsdp_forward_method(task, "losses")


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
