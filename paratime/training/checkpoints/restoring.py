"""The task of a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lightning.pytorch import LightningModule
from torch import Tensor

from paratime.errors import InputError, describe_error, naming
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import find_class, make

TaskT = TypeVar("TaskT", bound=LightningModule)


def restore_task(path: str, kinds: Sequence[type[TaskT]]) -> TaskT:
    """Return the task of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: The checkpoint.
        kinds: Classes of tasks that are accepted.

    Raises:
        InputError: There is no checkpoint of ``paratime fit``, or its task is another one.
    """
    saved = read_checkpoint(path)
    described = saved["hyper_parameters"]
    name = str(described.get("_class_path", "one without its config")).rpartition(".")[2]
    by_name = {kind.__name__: kind for kind in kinds}
    if name not in by_name:
        raise InputError(
            path,
            expected=f"a checkpoint of {' or '.join(by_name)}",
            got=name,
            remedy="name what paratime fit printed",
        )
    with naming(path):
        return build_saved(by_name[name], saved).eval()


def build_saved(
    base: type[TaskT], saved: Mapping[str, Any], *, strict: bool = True, **given: Any
) -> TaskT:
    """Return the task of a checkpoint's contents, of classes that data may name.

    Lightning would import the classes that a checkpoint names, and call functions.

    Args:
        base: The class of the task, or one that it derives from.
        saved: What ``read_checkpoint`` returned.
        strict: Whether all weights must be those of the task.
        given: Arguments of the task, instead of those of the checkpoint.

    Raises:
        InputError: The task cannot be built, or has other weights.
    """
    described = {**saved.get("hyper_parameters", {})}
    described.pop("spec", None)  # on_load_checkpoint builds the network for it
    path = described.pop("_class_path", None)
    kind = base if path is None else find_class(path, base)
    task = make(kind, {"init_args": described, "class_path": path} if path else described, **given)
    try:
        task.on_load_checkpoint({**saved})
        task.load_state_dict(saved["state_dict"], strict=strict)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged description of the data leads to
        raise InputError(
            "checkpoint", f"one of a {kind.__name__}", describe_error(error), "train it anew"
        ) from None
    return task


def check_weights(ours: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Refuse the weights of another model.

    Raises:
        InputError: One line that names the first weight that differs.
    """
    for name in sorted(saved.keys() | ours.keys()):
        expected, got = (_shape(state.get(name)) for state in (ours, saved))
        if expected != got:
            raise InputError(
                f"{name} in the checkpoint",
                expected=expected,
                got=got,
                remedy="use the config that the checkpoint was trained with",
            )


def _shape(weight: Tensor | None) -> str:
    return "no such weight" if weight is None else str(tuple(weight.shape))
