"""Files of ``torch.save``, read as data: whole, by their checksums, and without running pickles.

torch writes a CRC-32 of every part of a file and never looks at it again. It also unpickles the
description of a folder of shards without restrictions, which is checked here first.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import torch

from paratime.errors import InputError, describe_error

DESCRIPTION, PARTS = ".metadata", ".distcp"
"""In a folder of shards: what it holds, and the suffix of the files that hold it."""

REMEDY = "use another copy of it"

HARMLESS = {
    "torch.distributed.checkpoint.metadata": {
        *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
        *("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "StorageMeta"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "PurePosixPath", "Path", "WindowsPath"},
    "collections": {"OrderedDict"},
}
"""What a description of shards may consist of, next to sizes and types of torch."""


def read_archive(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Return what a file of ``torch.save`` holds: tensors and plain values.

    Raises:
        InputError: It is damaged, or holds anything else.
    """
    check_archive(path)
    return read_checked(path, device)


def read_checked(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Return what ``read_archive`` does of a file whose parts have been checked."""
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # torch's text says how to run it nonetheless
        raise _damaged(path, "what is neither a tensor nor a plain value, code perhaps") from None
    except Exception as error:  # torch names no common class for what it cannot read
        raise _damaged(path, describe_error(error)) from None
    if _holds_code(found):
        raise _damaged(path, "a class where there should be a value")
    return found


def _holds_code(value: Any) -> bool:
    """Return whether there is one of the few classes that torch looks up in a file as a value."""
    if isinstance(value, Mapping):
        return any(_holds_code(x) for x in (*value, *value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_holds_code, value))
    return callable(value) and not isinstance(value, torch.Tensor)


def is_zip(path: str | Path) -> bool:
    """Return whether a file is a whole zip archive, of one part."""
    try:
        return is_zipfile(path)
    except BadZipFile:  # one of several parts, or one that damage has made so
        return False


def check_archive(path: str | Path) -> None:
    """Refuse a file of ``torch.save`` of which a part differs from what was written.

    Raises:
        InputError: It does, or the file is none of ``torch.save``.
    """
    try:
        with ZipFile(path) as archive:
            packed = [x.filename for x in archive.infolist() if x.compress_type != ZIP_STORED]
            wrong = archive.testzip()
    except (BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, describe_error(error)) from None
    if packed or wrong:
        raise _damaged(path, f"other bytes in {wrong}" if wrong else f"a packed part, {packed[0]}")


def check_shards(folder: str | Path) -> None:
    """Refuse a folder of shards that would run code, or read files elsewhere, when it is loaded.

    Raises:
        InputError: It would, or it is none.
    """
    folder = Path(folder)
    try:
        with (folder / DESCRIPTION).open("rb") as file:
            about = _Description(file).load()
        for index, stored in about.storage_data.items():
            name = stored.relative_path
            if PurePosixPath(name).name != name or not name.endswith(PARTS):
                raise pickle.UnpicklingError(f"a part {name!r}")
            if type(about.state_dict_metadata[index.fqn]).__name__ == "BytesStorageMetadata":
                torch.load(_part(folder / name, stored), weights_only=True)
    except Exception as error:  # whatever a damaged pickle leads to
        raise _damaged(folder, describe_error(error)) from None


class _Description(pickle.Unpickler):
    """Reads a description of shards, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a harmless class, or a size or type of torch."""
        known = name in HARMLESS.get(module, ())
        kinds = (torch.dtype, torch.layout, torch.memory_format)
        if module == "torch":
            known = name == "Size" or isinstance(vars(torch).get(name), kinds)
        if not known:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def _part(path: Path, stored: Any) -> io.BytesIO:
    with path.open("rb") as file:
        file.seek(stored.offset)
        return io.BytesIO(file.read(stored.length))


def _damaged(path: str | Path, got: str) -> InputError:
    return InputError(str(path), "a whole file of tensors and plain values", got, REMEDY)
