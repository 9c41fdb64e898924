"""The arguments of an estimator, kept in its checkpoints, so that a run resumes as it began."""

from pathlib import Path
from typing import Any

from gluonts.core.serde import dump_json
from lightning.pytorch.callbacks import Callback

from paratime.errors import InputError
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.gluonts.recipe import decode
from paratime.forecast.model.task import ForecastTask
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import annotations, make_value

CIRCUMSTANCES = ("trainer_kwargs", "checkpoint_every", "forecasts")
"""Arguments of an estimator that its weights do not depend on."""


class Arguments(Callback):
    """Keeps an estimator's arguments in the checkpoints of its run.

    Args:
        arguments: Arguments by name, as ``validated`` stores them.
        kind: The class of the estimator, whose annotations tell what they are.
    """

    def __init__(self, arguments: dict[str, Any], kind: type) -> None:
        self._kind = kind
        kept = {name: x for name, x in arguments.items() if name not in CIRCUMSTANCES}
        self._texts = {name: dump_json(x) for name, x in kept.items()}

    @property
    def state_key(self) -> str:
        """Their name in a checkpoint."""
        return "arguments of the estimator"

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON by name."""
        return self._texts

    def check(self, ckpt_path: str | Path, task: ForecastTask) -> None:
        """Refuse a checkpoint of a run on other series or with other arguments.

        Raises:
            InputError: One line with the argument.
        """
        saved = read_checkpoint(ckpt_path)
        before = saved.get("callbacks", {}).get(self.state_key)
        same = SeriesSpec.saved_in(saved.get("hyper_parameters", {})) == task.spec
        if before is None or not same:
            raise InputError(
                str(ckpt_path),
                "a checkpoint of a run on these series",
                "one of others",
                "train again",
            )
        for name in sorted({*before, *self._texts}):
            was, now = (texts.get(name, "its default") for texts in (before, self._texts))
            if was != now and self._renewed(name, was) != now:
                raise InputError(
                    name, f"{was}, as in {ckpt_path}", now, "give that, or train again"
                )

    def _renewed(self, name: str, text: str) -> str:
        """Return an argument's JSON with the current paths of its classes."""
        try:
            hint = annotations(self._kind)[name]
            return dump_json(make_value(hint, decode(text)))
        except (InputError, KeyError, RuntimeError):
            return text
