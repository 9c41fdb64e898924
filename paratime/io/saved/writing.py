"""Files of tensors as torch writes them."""

from pathlib import Path
from typing import Any

import torch


def save(content: Any, path: str | Path) -> None:
    """Write a file for ``torch.load``; if the disk is full, the error says so.

    Given a path, torch opens the file itself, and says only that its writer failed.

    Args:
        content: What to write.
        path: The file, a draft of ``replacing``.
    """
    with Path(path).open("wb", buffering=0) as file:
        torch.save(content, file)
