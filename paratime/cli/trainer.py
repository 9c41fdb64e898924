"""Options of the trainer, checked where Lightning would end in a traceback, or take nonsense."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from numbers import Real
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from paratime.errors import InputError, check_at_least, one_line

LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
}
"""The least value of options that Lightning does not check."""


def check_trainer(options: Any) -> None:
    """Refuse values of which Lightning would divide, or which mean nothing.

    Args:
        options: Of the trainer, by name.

    Raises:
        InputError: An option is too small.
    """
    if not isinstance(options, Namespace):
        raise InputError("trainer", "its options by name", repr(options), "leave it out")
    given = {name: options[name] for name in LEAST if options[name] is not None}
    for name, value in given.items():
        check_at_least(LEAST[name], **{f"trainer.{name}": value})
    interval = options["val_check_interval"]
    if isinstance(interval, Real) and interval <= 0:
        raise InputError(
            "trainer.val_check_interval",
            expected="more than 0",
            got=str(interval),
            remedy="to validate never, --trainer.limit_val_batches 0",
        )


def named_callbacks(options: Namespace) -> list[str]:
    """Return the classes of the callbacks that a trainer is given: none, one, or a list."""
    given = options.callbacks or []
    given = given if isinstance(given, list) else [given]
    return [str(x.get("class_path")) for x in given]


def with_plain_texts(value: Any) -> Any:
    """Return options in which texts are no members of an enumeration, which YAML cannot hold.

    The default of an option of Lightning's Timer is one.
    """
    if isinstance(value, Namespace | dict):
        for name, part in value.items():
            value[name] = with_plain_texts(part)
    if isinstance(value, list):
        return [with_plain_texts(part) for part in value]
    return value.value if isinstance(value, str) and isinstance(value, Enum) else value


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Raise all that a trainer refuses in one class; Lightning's own are several."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise MisconfigurationException(f"trainer: {one_line(error)}") from error


def check_launcher(trainer: Trainer) -> None:
    """Refuse processes that the command line could not follow.

    They return neither the step that they reached nor their checkpoints, and signals to the first
    process do not reach them.
    """
    if type(trainer.strategy.launcher) is _MultiProcessingLauncher:
        raise InputError(
            "trainer.strategy",
            expected="processes of their own",
            got="those of ddp_spawn, ddp_fork or ddp_notebook",
            remedy="use ddp; the others are for notebooks, with Lightning's Trainer",
        )
