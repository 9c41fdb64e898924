"""Training and evaluation of world models."""

import warnings
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.layers.encoder import Encoder
from paratime.task import AdamW, Task
from paratime.world.dynamics import DynamicsNetwork
from paratime.world.latent import LatentNetwork
from paratime.world.latents import Categorical, Latent
from paratime.world.metrics import ImaginationError
from paratime.world.model import WorldModel
from paratime.world.openloop import imagined


class TrajectoryTask(Task):
    """What the tasks of world models share: losses by name, and rollouts that feed themselves.

    Args:
        trajectories: What the network must know of the data.
        context: Rows that are seen before a rollout.
        horizon: Steps of a rollout.
        optimizer: Optimiser and schedule.
    """

    network: WorldModel

    def __init__(
        self,
        trajectories: dict[str, Any] | None,
        context: int,
        horizon: int,
        optimizer: AdamW,
    ) -> None:
        super().__init__(optimizer)
        if trajectories is None:
            remedy = "use data with trajectories (TrajectoryData), or pass them"
            raise InputError("trajectories", "what the data says of itself", "None", remedy)
        self.trajectories, self.context, self.horizon = trajectories, context, horizon
        scale = torch.tensor(trajectories["moments"]["observation"][1])
        self.errors = ImaginationError(horizon, scale)

    @abstractmethod
    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and what is worth knowing of it, by name."""

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of transitions in a batch."""
        return int(transitions(batch).sum())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        loss, parts = self.losses(batch)
        self.log_dict({f"train/{name}": x.detach() for name, x in parts.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score what is seen, and rollouts."""
        self._score("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score what is seen, and rollouts."""
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

    def _score(self, split: str, batch: dict[str, Tensor]) -> None:
        loss, parts = self.losses(batch)
        for name, value in (parts | {"loss": loss}).items():
            self.log(f"{split}/{name}", value, batch_size=self.count(batch))
        self.errors.update(*imagined(self.network, batch, self.context, self.horizon))

    def _log_errors(self, split: str) -> None:
        for name, value in self.errors.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "nrmse@10")
        self.errors.reset()


class DynamicsTask(TrajectoryTask):
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

    network: DynamicsNetwork

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any] | None = None,
        use_action: bool = True,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(trajectories, context, horizon, optimizer)
        self.save_plain_hyperparameters()
        self.network = DynamicsNetwork(encoder, self.trajectories, use_action)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the head's numbers (B, L, O + 2) for all transitions of a batch."""
        return self.network(batch)[0]

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the errors of change and reward, and of the entropy of going on."""
        change, reward, proceeds = self(batch).split([self.network.size, 1, 1], dim=-1)
        targets = self.network.targets(batch)
        errors = {
            "change": (change - targets[0]).square().mean(-1),
            "reward": (reward.squeeze(-1) - targets[1]).square(),
            "proceeds": entropy(proceeds.squeeze(-1), targets[2]),
        }
        there = transitions(batch)
        parts = {name: mean(x, there) for name, x in errors.items()}
        return torch.stack([*parts.values()]).sum(), parts


class WorldTask(TrajectoryTask):
    """A latent model: what is seen is a sample of what could have been.

    Args:
        encoder: The encoder over latents and actions.
        trajectories: What the network must know of the data; the command line takes it from there.
        latent: Family of the latents.
        recurrent_posterior: Whether the posterior reads the recurrent state, too; training goes
            step by step then.
        use_action: Whether actions are read; without them it is an ablation.
        prior_weight: Weight of the divergence that moves the prior to the posterior.
        posterior_weight: Weight of that which moves the posterior to the prior.
        free_nats: Divergence of a row, in nats, below which it counts as this.
        context: Rows that are seen before a rollout in validation.
        horizon: Steps of that rollout.
        optimizer: Optimiser and schedule.

    Raises:
        InputError: ``trajectories`` is missing.
    """

    network: LatentNetwork

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any] | None = None,
        latent: Latent = Categorical(),  # noqa: B008 (frozen)
        recurrent_posterior: bool = False,
        use_action: bool = True,
        prior_weight: float = 1.0,
        posterior_weight: float = 0.1,
        free_nats: float = 0.1,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(trajectories, context, horizon, optimizer)
        self.save_plain_hyperparameters()
        self.weights, self.free_nats = (prior_weight, posterior_weight), free_nats
        self.network = LatentNetwork(
            encoder, self.trajectories, latent, recurrent_posterior, use_action
        )

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the errors of what is decoded, and the balanced divergence (arXiv 2010.02193)."""
        found, _ = self.network(batch)
        seen, reward, proceeds = found.decoded.split([self.network.size, 1, 1], dim=-1)
        targets = self.network.targets(batch)
        there, later = batch["mask"], batch["mask"] & ~batch["is_first"]
        kl, p, q = self.network.latent.kl, found.prior, found.posterior
        divergences = kl(q.detach(), p), kl(q, p.detach())
        parts = {
            "seen": mean((seen - targets[0]).square().sum(-1), there),
            "reward": mean((reward.squeeze(-1) - targets[1]).square(), later),
            "proceeds": mean(entropy(proceeds.squeeze(-1), targets[2]), there),
        }
        loss = torch.stack([*parts.values()]).sum()
        for weight, divergence in zip(self.weights, divergences, strict=True):
            loss = loss + weight * mean(divergence.clamp(min=self.free_nats), there)
        parts["kl"] = mean(divergences[0], there)
        parts["kl_free"] = mean((divergences[0] < self.free_nats).to(loss), there)
        return loss, parts

    def on_validation_epoch_end(self) -> None:
        """Log the errors, and warn where the latent says nothing."""
        super().on_validation_epoch_end()
        share = self.trainer.callback_metrics.get("val/kl_free")
        if share is not None and share > 0.95 and not self.trainer.sanity_checking:
            message = (
                f"the divergence of {share:.0%} of the rows is below free_nats={self.free_nats}:"
                " the latent says nothing; lower free_nats"
            )
            warnings.warn(message, stacklevel=2)


def transitions(batch: dict[str, Tensor]) -> Tensor:
    """Return which transitions (B, L) are within an episode, and not padding."""
    return ~batch["is_last"][:, :-1] & batch["mask"][:, 1:]


def mean(values: Tensor, there: Tensor) -> Tensor:
    """Return the mean of the values that are there."""
    return torch.where(there, values, 0.0).sum() / there.sum().clamp(min=1)


def entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each of some decisions."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
