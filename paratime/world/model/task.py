"""What the tasks of world models share."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError, check_at_least
from paratime.training.base import AdamW, Task
from paratime.training.carry import Carry
from paratime.world.data.episode import VECTOR
from paratime.world.evaluation.pictures import show
from paratime.world.model.base import State, WorldModel
from paratime.world.model.rollout import RolloutScores, imagined


class TrajectoryTask(Task):
    """What the tasks of world models share: losses by name, and rollouts that feed themselves.

    Args:
        trajectories: What the network must know of the data.
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
        context: Rows that are seen before a rollout.
        horizon: Steps of a rollout.
        optimizer: Optimiser and schedule.
    """

    network: WorldModel

    def __init__(
        self,
        trajectories: dict[str, Any] | None,
        overshoot: int,
        context: int,
        horizon: int,
        optimizer: AdamW,
    ) -> None:
        super().__init__(optimizer)
        check_at_least(0, overshoot=overshoot)
        check_at_least(1, context=context, horizon=horizon)
        if trajectories is None:
            remedy = "use data with trajectories (TrajectoryData), or pass them"
            raise InputError("trajectories", "what the data says of itself", "None", remedy)
        self.trajectories, self.overshoot = trajectories, overshoot
        self.context, self.horizon = context, horizon
        self.carry = Carry()
        self.scores = RolloutScores(trajectories, horizon)

    @abstractmethod
    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the loss, what is worth knowing of it, by name, and the state at the last row."""

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of transitions in a batch."""
        return int(transitions(batch).sum())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss; go on from the state of the batch before where this one does.

        Gradients end there: this is truncated back-propagation through time.
        """
        loss, parts, state = self.losses(batch, self.carry.before(batch))
        self.carry.keep(state, batch, batch["mask"].shape[1] - 1)
        if self.overshoot:
            parts["ahead"] = self.ahead(batch)
            loss = loss + parts["ahead"]
        self.log_dict({f"train/{name}": x.detach() for name, x in parts.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score what is seen, and rollouts; show a few of these."""
        self._score("val", batch)
        if batch_idx == 0 and not self.trainer.sanity_checking:
            show(self.trainer, self.network, batch, self.context, self.horizon)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score what is seen, and rollouts."""
        self._score("test", batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | dict[str, Tensor]:
        """Return imagined observations (B, horizon, O) behind the context, by key with images.

        Behind the end of an episode they are nan.
        """
        found, _, _, there = imagined(self.network, batch, self.context, self.horizon)
        known = {VECTOR: found.observation, **found.images}
        for key, x in known.items():
            gone = ~there.view(*there.shape, *[1] * (x.dim() - 2))
            known[key] = x.masked_fill(gone, torch.nan)
        return known if found.images else known[VECTOR]

    def on_validation_epoch_end(self) -> None:
        """Log the errors of the validation rollouts."""
        self._log_errors("val")

    def on_test_epoch_end(self) -> None:
        """Log the errors of the test rollouts."""
        self._log_errors("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state that the next batch may go on from."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried_state"] = self.carry.kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from that state."""
        super().on_load_checkpoint(checkpoint)
        self.carry.kept = checkpoint.get("carried_state")

    def ahead(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the error of rollouts from a random row on, as far as the episode goes.

        It is that of numbers, not of images.
        """
        rows = batch["observation"].shape[1]
        steps = min(self.overshoot, rows - 1)
        begin = int(torch.randint(rows - steps, ()))
        ahead = slice(begin + 1, begin + 1 + steps)
        found, truth, _, _ = imagined(self.network, batch, begin + 1, steps)
        there = transitions(batch)[:, begin : begin + steps].long().cumprod(1).bool()
        network = self.network
        off = (found.observation - truth) / network.observation[1]
        errors = (
            off.square().sum(-1) / max(1, network.size),
            ((found.reward - batch["prev_reward"][:, ahead]) / network.reward[1]).square(),
            functional.binary_cross_entropy(
                found.proceeds, (~batch["is_terminal"][:, ahead]).to(truth), reduction="none"
            ),
        )
        return torch.stack([mean(x, there) for x in errors]).sum()

    def _score(self, split: str, batch: dict[str, Tensor]) -> None:
        loss, parts, _ = self.losses(batch)
        for name, value in (parts | {"loss": loss} | self.solver_telemetry()).items():
            self.log(f"{split}/{name}", value, batch_size=self.count(batch))
        self.scores.update(self.network, batch, self.context)

    def _log_errors(self, split: str) -> None:
        for name, value in self.scores.compute().items():
            if not name.startswith("persistence"):  # it is the same every time
                self.log(f"{split}/{name}", value, prog_bar=name in ("nrmse@10", "image_skill@10"))
        self.scores.reset()


def transitions(batch: dict[str, Tensor]) -> Tensor:
    """Return which transitions (B, L) are within an episode, and not padding."""
    return ~batch["is_last"][:, :-1] & batch["mask"][:, 1:]


def mean(values: Tensor, there: Tensor) -> Tensor:
    """Return the mean of the values that are there."""
    return torch.where(there, values, 0.0).sum() / there.sum().clamp(min=1)


def entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each of some decisions."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
