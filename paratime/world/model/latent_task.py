"""Training of the latent world model."""

import warnings
from typing import Any

import torch
from torch import Tensor

from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW
from paratime.world.model.base import State
from paratime.world.model.latents import Categorical, Latent
from paratime.world.model.rewards import MSE, RewardHead
from paratime.world.model.rssm import LatentNetwork
from paratime.world.model.task import TrajectoryTask, entropy, mean


class WorldTask(TrajectoryTask):
    """A latent model: what is seen is a sample of what could have been.

    Args:
        encoder: The encoder over latents and actions.
        trajectories: What the network must know of the data; the command line takes it from there.
        latent: Family of the latents.
        reward: How rewards are said.
        recurrent_posterior: Whether the posterior reads the recurrent state, too; training goes
            step by step then.
        use_action: Whether actions are read; without them it is an ablation.
        image_width: Channels after the first convolution of images; twice as many after the next.
        prior_weight: Weight of the divergence that moves the prior to the posterior.
        posterior_weight: Weight of that which moves the posterior to the prior.
        free_nats: Divergence of a row, in nats, below which it counts as this.
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
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
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        recurrent_posterior: bool = False,
        use_action: bool = True,
        image_width: int = 8,
        prior_weight: float = 1.0,
        posterior_weight: float = 0.1,
        free_nats: float = 0.1,
        overshoot: int = 0,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(trajectories, overshoot, context, horizon, optimizer)
        self.save_plain_hyperparameters()
        self.weights, self.free_nats = (prior_weight, posterior_weight), free_nats
        self.network = LatentNetwork(
            encoder,
            self.trajectories,
            latent,
            reward,
            recurrent_posterior,
            use_action,
            image_width,
        )

    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the errors of what is decoded, and the balanced divergence (arXiv 2010.02193)."""
        found, last = self.network(batch, state)
        seen, reward, proceeds = self.network.parts(found.decoded)
        targets = self.network.targets(batch)
        there, later = batch["mask"], batch["mask"] & ~batch["is_first"]
        kl, p, q = self.network.latent.kl, found.prior, found.posterior
        divergences = kl(q.detach(), p), kl(q, p.detach())
        parts = {
            "seen": mean((seen - targets[0]).square().sum(-1), there),
            "reward": mean(self.network.reward_head.loss(reward, targets[1]), later),
            "proceeds": mean(entropy(proceeds.squeeze(-1), targets[2]), there),
        }
        if self.network.images:
            parts["image"] = mean(self.network.eyes.errors(found.code, batch), there)
        loss = torch.stack([*parts.values()]).sum()
        for weight, divergence in zip(self.weights, divergences, strict=True):
            loss = loss + weight * mean(divergence.clamp(min=self.free_nats), there)
        parts["kl"] = mean(divergences[0], there)
        parts["kl_free"] = mean((divergences[0] < self.free_nats).to(loss), there)
        return loss, parts, last

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
