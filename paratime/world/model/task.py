"""Training of world models: losses, validation rollouts and predictions."""

import warnings
from abc import abstractmethod
from functools import partial

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn import functional

from paratime.errors import check_at_least
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task
from paratime.training.batches.sharing import mean_of_all
from paratime.training.predictions import check_rows
from paratime.world.data.episode import VECTOR
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.base import State, WorldModel
from paratime.world.model.dynamics import DynamicsNetwork, RolloutMode
from paratime.world.model.metrics import describe_few, known_rows
from paratime.world.model.rewards import MSE, RewardHead
from paratime.world.model.rollout import RolloutScores, open_loop
from paratime.world.model.rssm import RSSM, Categorical, Latent


class TrajectoryTask(Task):
    """What the tasks of world models share: losses by name, and open-loop rollouts.

    Args:
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
        context: Rows that are seen before a rollout.
        horizon: Steps of a rollout.
        optimizer: Optimiser and schedule.
    """

    spec_type = TrajectorySpec
    spec: TrajectorySpec
    network: WorldModel

    def __init__(self, *, overshoot: int, context: int, horizon: int, optimizer: AdamW) -> None:
        super().__init__(optimizer)
        check_at_least(0, overshoot=overshoot)
        check_at_least(1, context=context, horizon=horizon)
        self.overshoot, self.context, self.horizon = overshoot, context, horizon
        self._short = self._episodes = 0
        self._remarks: list[str] = []

    def build(self, spec: TrajectorySpec) -> None:
        """Build the scores of rollouts, and the network."""
        self.scores = RolloutScores(spec, self.horizon)
        self.network = self.make_network(spec)

    @abstractmethod
    def make_network(self, spec: TrajectorySpec) -> WorldModel:
        """Return a new network."""

    @abstractmethod
    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the loss, its parts and other figures by name, and the state at the last row."""

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of transitions in a batch."""
        return int(transition_mask(batch).sum())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss; start from the state of the previous batch if this one continues it.

        Gradients end there: this is truncated back-propagation through time.
        """
        loss, parts, state = self.losses(batch, self.carry.before(batch))
        self.carry.keep(state, batch, batch["mask"].shape[1] - 1)
        if self.overshoot:
            parts["ahead"] = self.ahead(batch)
            loss = loss + parts["ahead"]
        self.log_step(parts | {"loss": loss}, shown=("loss",))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score one-step predictions and rollouts."""
        self._score("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score one-step predictions and rollouts."""
        self._score("test", batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | dict[str, Tensor]:
        """Return imagined observations (B, horizon, O) after the context, by key with images.

        After the end of an episode they are nan.
        """
        self._count_episodes(batch)
        rollout = open_loop(self.network, batch, context=self.context, horizon=self.horizon)
        found, valid = rollout.prediction, rollout.valid
        known = {VECTOR: found.observation, **found.images}
        for key, x in known.items():
            gone = ~valid.view(*valid.shape, *[1] * (x.dim() - 2))
            check_rows("prediction", x.isfinite() | gone, f"batch {batch_idx} episode")
            known[key] = x.masked_fill(gone, torch.nan)
        return known if found.images else known[VECTOR]

    def on_validation_epoch_end(self) -> None:
        """Log the errors of the validation rollouts."""
        self._log_errors("val")

    def on_test_epoch_end(self) -> None:
        """Log the errors of the test rollouts."""
        self._log_errors("test")

    def on_predict_epoch_end(self) -> None:
        """Find out how many episodes have no prediction."""
        self._remarks = self._short_episodes("predicted")

    def on_fit_end(self) -> None:
        """Print what the last figures do not say."""
        self._print_remarks()

    def on_validation_end(self) -> None:
        """Print the same after a validation of its own."""
        if self.trainer.state.fn != TrainerFn.FITTING:
            self._print_remarks()

    def on_test_end(self) -> None:
        """Print the same."""
        self._print_remarks()

    def on_predict_end(self) -> None:
        """Print the same."""
        self._print_remarks()

    def _print_remarks(self) -> None:
        if self.trainer.is_global_zero:
            for line in self._remarks:
                print(line)
        self._remarks = []

    def _count_episodes(self, batch: dict[str, Tensor]) -> None:
        lengths = batch["mask"].sum(1)
        seen = min(self.context, batch["mask"].shape[1] - 1)  # as in open_loop
        self._short += int(((lengths > 0) & (lengths <= seen)).sum())
        self._episodes += int((lengths > 0).sum())

    def _short_episodes(self, what: str) -> list[str]:
        """Return a line on episodes that end within the context, if there are any; count anew."""
        counts = torch.tensor([self._short, self._episodes], device=self.device)
        short, count = self.trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        self._short = self._episodes = 0
        if not short:
            return []
        return [
            f"warning: {short} of {count} episodes end within the context of {self.context} rows"
            f" and are not {what}; lower --model.context"
        ]

    def mean(self, values: Tensor, valid: Tensor) -> Tensor:
        """Return the mean of the valid values: in training, of all processes' (``mean_of_all``)."""
        total, count = torch.where(valid, values, 0.0).sum(), valid.sum()
        return mean_of_all(total, count) if self.training else total / count.clamp(min=1)

    def ahead(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the error of rollouts from a random row to the end of the episode at most.

        It is that of vectors, rewards and ends, not of images.
        """
        rows = batch[VECTOR].shape[1]
        steps = min(self.overshoot, rows - 1)
        begin = int(torch.randint(rows - steps, ()))
        ahead = slice(begin + 1, begin + 1 + steps)
        rollout = open_loop(self.network, batch, context=begin + 1, horizon=steps)
        found, network = rollout.prediction, self.network
        valid = transition_mask(batch)[:, begin : begin + steps].long().cumprod(1).bool()
        off = (found.observation - rollout.truth) / network.observation[1]
        cont = (~batch["is_terminal"][:, ahead]).to(off)
        errors = (
            off.square().sum(-1) / max(1, network.size) * rollout.known,
            ((found.reward - batch["prev_reward"][:, ahead]) / network.reward[1]).square(),
            _entropy(found.cont, cont),
        )
        return torch.stack([self.mean(x, valid) for x in errors]).sum()

    def _score(self, split: str, batch: dict[str, Tensor]) -> None:
        loss, parts, _ = self.losses(batch)
        means = parts | {"loss": loss} | self.solver_reports()
        self.log_means({f"{split}/{name}": x for name, x in means.items()}, self.count(batch))
        self._count_episodes(batch)
        self.scores.update(self.network, batch, self.context)

    def _log_errors(self, split: str) -> None:
        scores = self.scores.compute()
        changing = {k: x for k, x in scores.items() if not k.startswith("persistence")}
        self.log_scores(split, changing, shown=("nrmse@10", "image_skill@10"))
        self.scores.reset()
        few = describe_few(scores)
        self._remarks = [*self._short_episodes("scored"), *([few] if few else [])]


def transition_mask(batch: dict[str, Tensor]) -> Tensor:
    """Return which transitions (B, L) are within an episode, and not padding."""
    return ~batch["is_last"][:, :-1] & batch["mask"][:, 1:]


def binary_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each decision."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


class DynamicsTask(TrajectoryTask):
    """A deterministic model of the consequences of actions: next observation, reward and end.

    Args:
        encoder: The encoder over observations and actions.
        spec: The trajectories; by default those of the trainer's data.
        reward: How rewards are represented.
        rollout: How rollouts continue: ``step`` feeds predictions back; ``solve`` reads actions
            alone, in one pass over time.
        use_action: Whether actions are read; without them it is an ablation.
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
        context: Rows that are seen before a rollout in validation.
        horizon: Steps of that rollout.
        optimizer: Optimiser and schedule.
    """

    network: DynamicsNetwork

    def __init__(
        self,
        encoder: Encoder,
        spec: TrajectorySpec | None = None,
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        rollout: RolloutMode = "step",
        use_action: bool = True,
        overshoot: int = 0,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(overshoot=overshoot, context=context, horizon=horizon, optimizer=optimizer)
        self.save_plain_hyperparameters()
        self._network = partial(
            DynamicsNetwork, encoder, reward=reward, rollout=rollout, use_action=use_action
        )
        if spec is not None:
            self.specify(spec)

    def make_network(self, spec: TrajectorySpec) -> DynamicsNetwork:
        """Return a new network."""
        return self._network(spec)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the head's outputs (B, L, O + reward + 1) for all transitions of a batch."""
        return self.network(batch)[0]

    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the sum of the errors of change and reward, and of the entropy of continuing."""
        outputs, last = self.network(batch, state)
        change, reward, cont = self.network.parts(outputs)
        targets = self.network.targets(batch)
        errors = {
            "change": (change - targets[0]).square().mean(-1),
            "reward": self.network.reward_head.loss(reward, targets[1]),
            "cont": binary_entropy(cont.squeeze(-1), targets[2]),
        }
        valid = transition_mask(batch)
        there = {"change": valid & known_rows(batch)[:, 1:]}
        parts = {name: self.mean(x, there.get(name, valid)) for name, x in errors.items()}
        return torch.stack([*parts.values()]).sum(), parts, last


class WorldTask(TrajectoryTask):
    """A model with latents: an observation is a sample of several possible ones.

    Args:
        encoder: The encoder over latents and actions.
        spec: The trajectories; by default those of the trainer's data.
        latent: Family of the latents.
        reward: How rewards are represented.
        recurrent_posterior: Whether the posterior reads the recurrent state, too; training goes
            step by step then.
        use_action: Whether actions are read; without them it is an ablation.
        image_width: Channels after the first convolution of images; each further one doubles them.
        prior_weight: Weight of the divergence that moves the prior to the posterior.
        posterior_weight: Weight of that which moves the posterior to the prior.
        free_nats: Least divergence of a row, in nats; smaller ones count as this.
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
        context: Rows that are seen before a rollout in validation.
        horizon: Steps of that rollout.
        optimizer: Optimiser and schedule.
    """

    network: RSSM

    def __init__(
        self,
        encoder: Encoder,
        spec: TrajectorySpec | None = None,
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
        super().__init__(overshoot=overshoot, context=context, horizon=horizon, optimizer=optimizer)
        self.save_plain_hyperparameters()
        self.weights, self.free_nats = (prior_weight, posterior_weight), free_nats
        self._network = partial(
            RSSM,
            encoder,
            latent=latent,
            reward=reward,
            recurrent_posterior=recurrent_posterior,
            use_action=use_action,
            image_width=image_width,
        )
        if spec is not None:
            self.specify(spec)

    def make_network(self, spec: TrajectorySpec) -> RSSM:
        """Return a new network."""
        return self._network(spec)

    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the decoder's errors, and the balanced divergence (arXiv 2010.02193)."""
        found, last = self.network(batch, state)
        seen, reward, cont = self.network.parts(found.decoded)
        targets = self.network.targets(batch)
        valid, later = batch["mask"], batch["mask"] & ~batch["is_first"]
        known = valid & known_rows(batch)
        kl, p, q = self.network.latent.kl, found.prior, found.posterior
        divergences = kl(q.detach(), p), kl(q, p.detach())
        parts = {
            "seen": self.mean((seen - targets[0]).square().sum(-1), known),
            "reward": self.mean(self.network.reward_head.loss(reward, targets[1]), later),
            "cont": self.mean(binary_entropy(cont.squeeze(-1), targets[2]), valid),
        }
        if self.network.images:
            parts["image"] = self.mean(self.network.eyes.errors(found.code, batch), known)
        loss = torch.stack([*parts.values()]).sum()
        for weight, divergence in zip(self.weights, divergences, strict=True):
            loss = loss + weight * self.mean(divergence.clamp(min=self.free_nats), known)
        parts["kl"] = self.mean(divergences[0], known)
        parts["kl_free"] = self.mean((divergences[0] < self.free_nats).to(loss), known)
        return loss, parts, last

    def on_validation_epoch_end(self) -> None:
        """Log the errors, and warn if the latent carries no information."""
        super().on_validation_epoch_end()
        share = self.trainer.callback_metrics.get("val/kl_free")
        if share is not None and share > 0.95 and not self.trainer.sanity_checking:
            message = (
                f"the divergence of {share:.0%} of the rows is below free_nats={self.free_nats}:"
                " the latent says nothing; lower free_nats"
            )
            warnings.warn(message, stacklevel=2)


def _entropy(chance: Tensor, cont: Tensor) -> Tensor:
    """Return the cross-entropy of probabilities, which autocast to half precision refuses.

    Torch refuses NaN, which stays NaN here.
    """
    chance = chance.to(torch.promote_types(chance.dtype, torch.float32))
    known, cont = torch.where(chance.isnan(), 0.5, chance), cont.to(chance)
    with torch.autocast(chance.device.type, enabled=False):
        found = functional.binary_cross_entropy(known, cont, reduction="none")
    return torch.where(chance.isnan(), chance, found)
