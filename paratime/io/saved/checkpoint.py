"""What a checkpoint of ``paratime fit`` holds, read without Lightning."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from paratime.errors import InputError, one_line
from paratime.io.saved.archives import check_archive, check_shards, is_zip, read_checked

META, STATE = "meta.pt", "state_dict."
"""In the folder that ModelParallelStrategy writes: what is no tensor, and how weights begin."""

RESUMED: dict[str, type] = {
    "pytorch-lightning_version": str,
    "global_step": int,
    "epoch": int,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
"""What Lightning continues a run from."""


def check_checkpoint(path: str) -> None:
    """Refuse a path that is not a whole checkpoint file or folder, or would run code."""
    if not Path(path).exists():
        problem = "an existing checkpoint", repr(path)
    elif not (Path(path).is_file() or Path(path).is_dir()):
        problem = "a checkpoint", f"a device or a pipe, {path!r}"
    elif Path(path).is_file() and not is_zip(path):
        problem = "a checkpoint", f"another or a cut file, {path!r}"
    else:
        return _check_parts(Path(path))
    raise InputError(
        "ckpt_path",
        *problem,
        remedy=f"paratime fit prints the path at its end; relative ones start from {Path.cwd()}",
    )


def _check_parts(path: Path) -> None:
    """Refuse a file or a folder with damaged parts, or parts that would run code."""
    try:
        if path.is_dir():
            check_shards(path)
        check_archive(path / META if path.is_dir() else path)
    except InputError as error:
        raise _unreadable(path, error.args[2]) from None


def _unreadable(path: str | Path, got: str) -> InputError:
    return InputError(
        str(path),
        expected="a checkpoint of paratime fit",
        got=got,
        remedy="name what paratime fit printed",
    )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint; of a sharded one's folder, without the moments.

    Raises:
        InputError: There is no checkpoint of Lightning, or it cannot be read.
    """
    check_checkpoint(str(path))
    try:
        saved = _read_folder(Path(path)) if Path(path).is_dir() else _read_file(Path(path))
        for name in ("hyper_parameters", "state_dict"):
            if not isinstance(saved.setdefault(name, {}), Mapping):
                raise TypeError(f"{name} is no dictionary")
        for name, weight in saved["state_dict"].items():
            if not isinstance(weight, torch.Tensor) or weight.is_meta or weight.is_complex():
                raise TypeError(f"{name} is no tensor of real values")
    except InputError as error:
        raise _unreadable(path, error.args[2]) from None
    except Exception as error:  # torch names no common class for what is cut or of another kind
        raise _unreadable(path, f"{type(error).__name__}: {one_line(error)}") from None
    return saved


def check_resumable(path: str | Path) -> None:
    """Refuse a checkpoint file that lacks what a run continues from, or has it in another form.

    Lightning would end in a trace, or begin with other moments and another place in the data.

    Raises:
        InputError: One line that names what is wrong.
    """
    if Path(path).is_dir():
        return
    saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    for name, kind in RESUMED.items():
        if not isinstance(saved.get(name), kind):
            raise _unreadable(path, f"{name} that is {_form(saved.get(name))}")
    for name in ("global_step", "epoch"):
        if not 0 <= saved[name] < 2**63:
            raise _unreadable(path, f"{name} {saved[name]}")
    for name in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(x, Mapping) for x in saved[name]):
            raise _unreadable(path, f"{name} that is {_form(saved[name])}")
    if not saved["optimizer_states"]:
        raise _unreadable(path, "none of the optimiser's moments")


def _form(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:40]}"


def _read_file(path: Path) -> dict[str, Any]:
    return dict(read_checked(path))


def _read_folder(path: Path) -> dict[str, Any]:
    from torch.distributed import checkpoint  # which takes two seconds to import
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    known = checkpoint.FileSystemReader(path).read_metadata().state_dict_metadata
    weights = {
        name.removeprefix(STATE): torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in known.items()
        if name.startswith(STATE) and isinstance(about, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        checkpoint.load({STATE[:-1]: weights}, checkpoint_id=path, no_dist=True)
    return _read_file(path / META) | {"state_dict": weights}
