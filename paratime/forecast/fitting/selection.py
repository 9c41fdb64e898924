"""What a trial chose, the steps and the calibration, kept in the checkpoints that follow."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from paratime.forecast.data.labels import score
from paratime.forecast.fitting.holdout import Holdout
from paratime.forecast.fitting.members import members
from paratime.forecast.model.calibration import Calibration
from paratime.forecast.model.network import ForecastNetwork
from paratime.forecast.model.task import ForecastTask


class Selection(Callback):
    """Carries what a trial chose through the training that follows it.

    Attributes:
        steps: Optimiser steps of the network.
        member: Name of the statistical forecast.
        calibration: Of the network; None before it was chosen.
    """

    state_key = "selection of a trial"

    def __init__(self) -> None:
        self.steps, self.member = 0, ""
        self.calibration: Calibration | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the selection as plain values and tensors."""
        calibration = {} if self.calibration is None else self.calibration.state_dict()
        return {"steps": self.steps, "member": self.member, "calibration": calibration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what ``state_dict`` returned."""
        self.steps, self.member = state_dict["steps"], state_dict["member"]
        weights = state_dict["calibration"]
        self.calibration = Calibration(*weights["member"].shape)
        self.calibration.load_state_dict(weights)

    def restore(self, ckpt_path: str | Path) -> None:
        """Take the selection from a checkpoint that was written after it."""
        saved = torch.load(ckpt_path, map_location="cpu", weights_only=True)["callbacks"]
        if self.state_key in saved:
            self.load_state_dict(saved[self.state_key])

    def make(self, holdout: Holdout, task: ForecastTask, steps: int) -> None:
        """Choose by the held-out windows, for a task that was trained for ``steps`` steps."""
        self.steps = steps
        self.calibration, self.member = holdout.calibrate(task, steps)

    def fall_back(self, network: ForecastNetwork) -> None:
        """Forecast with seasonal naive alone, if the output can, as nothing could be held out."""
        shape, share = network.shape, 0.0 if network.output.moves else 1.0
        member = members(shape.prediction_length, shape.season, network.remembered)[0]
        self.member = member.name
        self.calibration = Calibration.of(member.weights, member.spread, weight=share)

    def summary(self) -> list[tuple[str, str]]:
        """Return what to print of it: names and values."""
        assert self.calibration is not None
        share, found = float(self.calibration.weight), self.calibration.evidence
        blend = f"{share:.0%} network, {1 - share:.0%} {self.member}" if share < 1 else "network"
        rows = [("trained for", f"{self.steps:,} steps")] if self.steps else []
        rows.append(("forecast", blend))
        if found.windows:
            scores = f"mean_wQL {score(found.loss)}, seasonal naive {score(found.naive)}"
            windows = "1 window" if found.windows == 1 else f"{found.windows:,.0f} windows"
            rows.append(("held out", f"{windows}: {scores}, {found.coverage:.0%} inside 80 %"))
        return rows
