"""What Lightning logs and warns of, without its advertisements and matters of course."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("lightning.pytorch", "lightning.fabric")


def quieten() -> None:
    """Drop advertisements, warnings of Lightning's own use of torch, and those of no consequence.

    It lasts as long as the process.
    """
    for name in LOGGERS:
        log = logging.getLogger(f"{name}.utilities.rank_zero")
        log.addFilter(lambda record: "Tip:" not in record.getMessage())
    for message in (
        ".*isinstance.treespec, LeafSpec.* is deprecated",
        "The dirpath has changed",
        "You're using the WeightAveraging callback with a model that overrides",
        r"It is recommended to use .self.log\(.*sync_dist",  # scores are of all processes
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Drop Lightning's messages on devices, seeds and ends of runs, and its warnings.

    Args:
        level: Least level of the messages that are kept; warnings are kept if it keeps them.
    """
    logs = [logging.getLogger(name) for name in LOGGERS]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(level)
    try:
        with warnings.catch_warnings():
            if level > logging.WARNING:
                warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for log, before in zip(logs, levels, strict=True):
            log.setLevel(before)
