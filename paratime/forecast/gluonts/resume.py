"""What a checkpoint says of its run, and whether another run may go on from there."""

from pathlib import Path
from typing import Any

import torch
from gluonts.core.serde import dump_json
from lightning.pytorch.callbacks import Callback

from paratime.cli.parser import check_checkpoint
from paratime.errors import InputError
from paratime.forecast.model.task import ForecastTask

CIRCUMSTANCES = ("trainer_kwargs", "checkpoint_every", "forecasts")
"""Arguments of an estimator that its weights do not depend on."""


class Arguments(Callback):
    """Keeps an estimator's arguments in the checkpoints of its run.

    Args:
        arguments: By name, as ``validated`` keeps them.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        kept = {name: x for name, x in arguments.items() if name not in CIRCUMSTANCES}
        self._texts = {name: dump_json(x) for name, x in kept.items()}

    @property
    def state_key(self) -> str:
        """The name under which a checkpoint keeps them."""
        return "arguments of the estimator"

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON by name."""
        return self._texts

    def check(self, ckpt_path: str | Path, task: ForecastTask) -> None:
        """Refuse a checkpoint that is none, or of a run on other series or with other arguments.

        Raises:
            InputError: One line that names the argument.
        """
        check_checkpoint(str(ckpt_path))
        saved = torch.load(ckpt_path, map_location="cpu", weights_only=True)
        before = saved.get("callbacks", {}).get(self.state_key)
        same = saved.get("hyper_parameters", {}).get("series") == task.series
        if before is None or not same:
            expected, remedy = "a checkpoint of a run on these series", "train anew"
            raise InputError(str(ckpt_path), expected, "one of others", remedy)
        for name in sorted({*before, *self._texts}):
            was, now = (texts.get(name, "its default") for texts in (before, self._texts))
            if was != now:
                remedy = "give what the interrupted run was given, or train anew"
                raise InputError(name, f"{was}, as in {ckpt_path}", now, remedy)
