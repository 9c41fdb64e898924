"""A trial of HDF5 files, in a process that a damaged one may end in place of ours."""

from contextlib import suppress
from importlib import import_module
from typing import Any

BYTES = 2**26
"""Of a dataset, at a time."""


def visit_file(path: str) -> None:
    """Visit all that a file holds, as reading it does; what raises errors is left to the reader."""
    h5py = import_module("h5py")
    with suppress(Exception), h5py.File(path, "r") as file:
        _visit(file, h5py, set())


def _visit(node: Any, h5py: Any, seen: set[Any]) -> None:
    """Read an object and all below it, once."""
    with suppress(Exception):
        seen.add(h5py.h5o.get_info(node.id).addr)
    for name in _names(node.attrs):
        with suppress(Exception):
            node.attrs[name]
    if isinstance(node, h5py.Dataset):
        with suppress(Exception):
            _read(node)
    for name in _names(node) if isinstance(node, h5py.Group) else []:
        with suppress(Exception):
            if isinstance(node.get(name, getlink=True), h5py.ExternalLink):
                continue
            below = node[name]
            if h5py.h5o.get_info(below.id).addr not in seen:
                _visit(below, h5py, seen)


def _names(node: Any) -> list[str]:
    with suppress(Exception):
        return [*node]
    return []


def _read(dataset: Any) -> None:
    """Read the rows of a dataset, some at a time; those that are stored as they are need none."""
    plain = dataset.chunks is None and dataset.dtype.kind in "biufc"
    if dataset.external or dataset.is_virtual or plain:
        return
    if not dataset.shape:
        dataset[()]
        return
    row = max(1, dataset.size // max(1, len(dataset)) * dataset.dtype.itemsize)
    step = max(1, BYTES // row)
    for first in range(0, len(dataset), step):
        dataset[first : first + step]
