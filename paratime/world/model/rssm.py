"""A stochastic world model after the recurrent state-space model of Dreamer.

A latent is a sample of a distribution whose parameters a network returns (*raw* below). Samples
carry gradients: of classes straight through (Bengio et al., 2013), of Gaussians by
reparametrisation. KL divergences are in nats, summed over the latent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.errors import check_at_least
from paratime.layers.encoder import Encoder
from paratime.layers.state import clone
from paratime.ops.precision import precise
from paratime.world.data.episode import KNOWN, VECTOR
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.base import Observation, Prediction, State, WorldModel, by_key
from paratime.world.model.images import Images
from paratime.world.model.rewards import MSE, RewardHead


class Latent(ABC):
    """A family of distributions."""

    @property
    @abstractmethod
    def raw_size(self) -> int:
        """Number of a distribution's parameters."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Size of a sample."""

    @abstractmethod
    def sample(self, raw: Tensor) -> Tensor:
        """Draw a sample (..., size) of each distribution (..., raw_size)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected sample (..., size), from which imagination continues by default.

        It keeps information that choosing one class would lose at each step.
        """

    @abstractmethod
    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return the KL divergence (...,) of distributions from others."""


@dataclass(frozen=True)
class Categorical(Latent):
    """Groups of classes, as in DreamerV2 and V3 (arXiv 2010.02193, 2301.04104).

    Args:
        groups: Number of groups.
        classes: Number of classes in a group.
        unimix: Share of the uniform distribution in each group; it keeps divergences finite.
    """

    groups: int = 16
    classes: int = 16
    unimix: float = 0.01

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_at_least(1, groups=self.groups, classes=self.classes)

    @property
    def raw_size(self) -> int:
        """One logit per class."""
        return self.groups * self.classes

    @property
    def size(self) -> int:
        """One-hot values, group by group."""
        return self.groups * self.classes

    def sample(self, raw: Tensor) -> Tensor:
        """Draw a class of each group, with the gradient of the probabilities."""
        chances = self._log(raw).exp()
        known = chances.detach().nan_to_num(1.0)  # of nan the draw stays nan, by the sum below
        choice = torch.multinomial(known.flatten(0, -2), 1)
        drawn = functional.one_hot(choice.view(chances.shape[:-1]), self.classes).to(raw)
        return (drawn + chances - chances.detach()).flatten(-2)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the probability of each class."""
        return self._log(raw).exp().flatten(-2)

    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return sum p (log p - log q)."""
        p, q = self._log(raw), self._log(other)
        return (p.exp() * (p - q)).sum((-2, -1))

    def _log(self, raw: Tensor) -> Tensor:
        logits = raw.unflatten(-1, (self.groups, self.classes))
        if self.unimix == 0:
            return logits.log_softmax(-1)  # finite where the log of a chance is not
        return ((1 - self.unimix) * logits.softmax(-1) + self.unimix / self.classes).log()


@dataclass(frozen=True)
class Gaussian(Latent):
    """Independent normal variables.

    Args:
        numbers: Number of variables.
        least: Least standard deviation.
    """

    numbers: int = 32
    least: float = 0.1

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_at_least(1, numbers=self.numbers)

    @property
    def raw_size(self) -> int:
        """A mean and a deviation per variable."""
        return 2 * self.numbers

    @property
    def size(self) -> int:
        """One value per variable."""
        return self.numbers

    def sample(self, raw: Tensor) -> Tensor:
        """Draw each variable."""
        mean, spread = self._parts(raw)
        return mean + spread * torch.randn_like(spread)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean of each variable."""
        return self._parts(raw)[0]

    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return sum log(s / r) + (r^2 + (m - n)^2) / (2 s^2) - 1 / 2."""
        (m, r), (n, s) = self._parts(raw), self._parts(other)
        return ((s / r).log() + (r.square() + (m - n).square()) / (2 * s.square()) - 0.5).sum(-1)

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = raw.chunk(2, dim=-1)
        return mean, functional.softplus(spread) + self.least


@dataclass(frozen=True)
class Beliefs:
    """What a model infers from rows (B, R).

    Attributes:
        posterior: Parameters of the latent's distribution given the observation, (B, R, raw).
        prior: Likewise given the past alone, (B, R, raw).
        decoded: Observation in standard deviations, the reward head's outputs, and the logit of
            continuing, (B, R, O + reward + 1).
        code: Recurrent state and latent, the input of all decoders, (B, R, width + latent).
    """

    posterior: Tensor
    prior: Tensor
    decoded: Tensor
    code: Tensor


class Reading(NamedTuple):
    """The result of reading rows (B, R): recurrent states, posteriors, latents, and last state."""

    features: Tensor
    posterior: Tensor
    latent: Tensor
    state: State | None


class RSSM(WorldModel):
    """Encoder of latent and action; posterior, prior and decoder.

    A state is that of the encoder, and its output at the present row.

    Args:
        encoder: Encoder; its width is the network's.
        spec: Sizes and statistics of the data.
        latent: Family of the latents.
        reward: How the decoder represents a reward.
        recurrent_posterior: Whether the posterior reads the recurrent state, too.
        use_action: Whether actions are read; without them it is an ablation.
        image_width: Channels after the first convolution of images; each further one doubles them.
    """

    reads_images = stochastic = True

    def __init__(
        self,
        encoder: Encoder,
        spec: TrajectorySpec,
        latent: Latent,
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        recurrent_posterior: bool = False,
        use_action: bool = True,
        image_width: int = 8,
    ) -> None:
        super().__init__(spec, reward, use_action)
        self.encoder, self.latent, self.recurrent = encoder, latent, recurrent_posterior
        width = encoder.width
        moments = spec.moments.images
        self.eyes = Images(self.images, width + latent.size, image_width, moments)
        seen = self.size + self.eyes.size + width * recurrent_posterior
        self.posterior = MLP(seen, width, latent.raw_size)
        self.prior = MLP(width, width, latent.raw_size)
        self.project = nn.Linear(latent.size + self.actions, width)
        self.decoder = MLP(width + latent.size, width, self.size + reward.size + 1)

    def forward(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Beliefs, State]:
        """Read rows: in one pass, or step by step with a recurrent posterior."""
        read = self._one_by_one if self.recurrent else self._at_once
        features, posterior, latent, last = read(batch, state)
        prior = precise(self.prior(features))
        if KNOWN in batch:  # nothing but the past tells of an observation that is not
            known = batch[KNOWN].unsqueeze(-1)
            latent = torch.where(known, latent, self._draw(prior))
        code = torch.cat([features, latent], dim=-1)
        beliefs = Beliefs(posterior, prior=prior, decoded=self.decoder(code), code=code)
        return beliefs, (last, features[:, -1].clone())

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decoder's targets: observation (B, R, O), reward and continuing (B, R)."""
        seen, reward = self.scaled(batch[VECTOR]), self.scaled_reward(batch["prev_reward"])
        return seen, reward, (~batch["is_terminal"]).to(seen)

    def imagine(
        self, observation: Observation, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict the consequences of actions (N, H, A), from N observations, or from one."""
        last, features = self._begin(len(actions)) if state is None else state
        seen = self._seen(by_key(observation)).expand(len(actions), -1)
        latent = self._draw(self._posterior(seen, features))
        codes = []
        for action in self.scaled_action(actions).unbind(1):
            features, last = self.encoder.step(self._input(latent, action), last)
            latent = self._draw(precise(self.prior(features)))
            codes.append(torch.cat([features, latent], dim=-1))
        code = torch.stack(codes, dim=1)
        seen, reward, cont = self.parts(self.decoder(code))
        free = seen * self.observation[1] + self.observation[0]
        images = self.eyes.frames(code)
        return self.prediction(free, reward=reward, cont=cont, images=images), (last, features)

    def _seen(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Return a posterior's input: the vector in standard deviations, and image features."""
        return torch.cat([self.scaled(rows[VECTOR]), *self.eyes.features(rows)], dim=-1)

    def _at_once(self, batch: dict[str, Tensor], state: State | None) -> Reading:
        posterior = self._posterior(self._seen(batch), None)
        latent = self._draw(posterior)
        x, first = self._inputs(latent, batch)
        if state is None:
            features, last = self.encoder(x, None, reset=first)
            return Reading(features, posterior, latent, last)
        last, present = clone(state)
        features = present.unsqueeze(1)
        if x.shape[1] > 1:
            following, last = self.encoder(x[:, 1:], last, reset=first[:, 1:])
            features = torch.cat([features, following], dim=1)
        return Reading(features, posterior, latent, last)

    def _one_by_one(self, batch: dict[str, Tensor], state: State | None) -> Reading:
        seen, action = self._seen(batch), self.scaled_action(batch["prev_action"])
        first = batch["is_first"]
        last, present = self._begin(len(seen)) if state is None else clone(state)
        latent, rows = seen.new_zeros(len(seen), self.latent.size), []
        for t in range(seen.shape[1]):
            if t > 0:
                keep = ~first[:, t, None]
                x = self._input(latent * keep, action[:, t] * keep)
                present, last = self.encoder.step(x, last, first[:, t])
            posterior = self._posterior(seen[:, t], present)
            latent = self._draw(posterior)
            rows.append((present, posterior, latent))
        stacked = [torch.stack(x, dim=1) for x in zip(*rows, strict=True)]
        return Reading(stacked[0], stacked[1], stacked[2], last)

    def _inputs(self, latent: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the encoder's inputs, and where an episode begins: at the first row, too."""
        first = batch["is_first"].clone()
        first[:, 0] = True
        before = torch.cat([torch.zeros_like(latent[:, :1]), latent[:, :-1]], dim=1)
        keep = ~first.unsqueeze(-1)
        return self._input(before * keep, self.scaled_action(batch["prev_action"]) * keep), first

    def _input(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.project(torch.cat([latent, action], dim=-1).to(self.project.weight))

    def _begin(self, count: int) -> State:
        """Return the state at the first row of an episode."""
        zeros = self.project.weight.new_zeros(count, self.project.in_features)
        features, last = self.encoder.step(self.project(zeros))
        return last, features

    def _posterior(self, seen: Tensor, features: Tensor | None) -> Tensor:
        if self.recurrent:
            assert features is not None
            seen = torch.cat([seen, features], dim=-1)
        return precise(self.posterior(seen))

    def _draw(self, raw: Tensor) -> Tensor:
        draws = self.training or self.sampling
        return self.latent.sample(raw) if draws else self.latent.mean(raw)


class MLP(nn.Sequential):
    """A network with one hidden layer, which rounds its input to the precision of its weights.

    Args:
        inputs: Width of the input.
        hidden: Width of the layer.
        outputs: Width of the output.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (..., inputs) to outputs (..., outputs)."""
        return super().forward(x.to(next(self.parameters())))
