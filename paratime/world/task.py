"""Training and evaluation of world models."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.layers.encoder import Encoder
from paratime.task import AdamW, Task
from paratime.world.dynamics import DynamicsNetwork
from paratime.world.metrics import ImaginationError
from paratime.world.openloop import imagined


class DynamicsTask(Task):
    """A deterministic model of what comes of an action: the next observation, reward and end.

    Args:
        encoder: The encoder over observations and actions.
        trajectories: What the network must know of the data; the command line takes it from there.
        use_action: Whether actions are read; without them it is an ablation.
        context: Rows that are seen before a rollout in validation.
        horizon: Steps of that rollout.
        optimizer: Optimiser and schedule.

    Raises:
        InputError: ``trajectories`` is missing.
    """

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any] | None = None,
        use_action: bool = True,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(optimizer)
        self.save_plain_hyperparameters()
        if trajectories is None:
            remedy = "use data with trajectories (TrajectoryData), or pass them"
            raise InputError("trajectories", "what the data says of itself", "None", remedy)
        self.trajectories, self.context, self.horizon = trajectories, context, horizon
        self.network = DynamicsNetwork(encoder, trajectories, use_action)
        self.errors = ImaginationError(horizon, self.network.observation[1])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the head's numbers (B, L, O + 2) for all transitions of a batch."""
        return self.network(batch)[0]

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of transitions in a batch."""
        return int(transitions(batch).sum())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss over the transitions."""
        losses = self._losses(batch)
        self.log_dict({f"train/{name}": x.detach() for name, x in losses.items()}, prog_bar=False)
        loss = torch.stack([*losses.values()]).sum()
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score one-step predictions, and rollouts that feed themselves."""
        self._score("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score one-step predictions, and rollouts that feed themselves."""
        self._score("test", batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return imagined observations (B, horizon, O) behind the context."""
        return imagined(self.network, batch, self.context, self.horizon)[0].observation

    def on_validation_epoch_end(self) -> None:
        """Log the errors of the validation rollouts."""
        self._log_errors("val")

    def on_test_epoch_end(self) -> None:
        """Log the errors of the test rollouts."""
        self._log_errors("test")

    def _losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        numbers = self(batch)
        there = transitions(batch)
        change, reward, proceeds = self.network.targets(batch)
        size = self.network.size
        errors = {
            "change": (numbers[..., :size] - change).square().mean(-1),
            "reward": (numbers[..., size] - reward).square(),
            "proceeds": functional.binary_cross_entropy_with_logits(
                numbers[..., size + 1], proceeds, reduction="none"
            ),
        }
        count = there.sum().clamp(min=1)
        return {name: torch.where(there, x, 0.0).sum() / count for name, x in errors.items()}

    def _score(self, split: str, batch: dict[str, Tensor]) -> None:
        losses = self._losses(batch)
        count = self.count(batch)
        for name, value in (losses | {"loss": torch.stack([*losses.values()]).sum()}).items():
            self.log(f"{split}/{name}", value, batch_size=count)
        self.errors.update(*imagined(self.network, batch, self.context, self.horizon))

    def _log_errors(self, split: str) -> None:
        for name, value in self.errors.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "nrmse@10")
        self.errors.reset()


def transitions(batch: dict[str, Tensor]) -> Tensor:
    """Return which transitions (B, L) are within an episode, and not padding."""
    return ~batch["is_last"][:, :-1] & batch["mask"][:, 1:]
