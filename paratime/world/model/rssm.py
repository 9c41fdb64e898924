"""A stochastic world model: a recurrent state, and at each row a latent that says what is seen.

It is the recurrent state-space model of PlaNet and Dreamer (arXiv 1811.04551, 2301.04104) with a
posterior that reads the observation alone, as R2I (arXiv 2403.04253) has it: then all latents of a
sequence are known before the recurrence begins, which is one solve over time,

    z[t] ~ q(z | o[t])            posterior
    h[t] = f(h[t-1], z[t-1], a[t-1])
    z[t] ~ p(z | h[t])            prior, which imagination draws from
    o[t], r[t], c[t] from (h[t], z[t]).

A posterior q(z | h[t], o[t]) feeds a sample back into the recurrence, and has to go step by step;
it is there for comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paratime.layers.encoder import Encoder
from paratime.world.model.base import Prediction, Seen, State, WorldModel, by_key
from paratime.world.model.images import Images
from paratime.world.model.latents import Latent
from paratime.world.model.rewards import MSE, RewardHead


@dataclass(frozen=True)
class Beliefs:
    """What a latent model makes of rows (B, R).

    Attributes:
        posterior: Numbers of the latent's distribution, given the observation, (B, R, raw).
        prior: Likewise given what came before, (B, R, raw).
        decoded: Observation in standard deviations, the reward head's numbers, and the logit of
            going on, (B, R, O + reward + 1).
        code: Recurrent state and latent, from which it is decoded, and images are, too,
            (B, R, width + latent).
    """

    posterior: Tensor
    prior: Tensor
    decoded: Tensor
    code: Tensor


class LatentNetwork(WorldModel):
    """Encoder of latent and action; posterior, prior and decoder.

    A state is the encoder's, and what it says of the present row.

    Args:
        encoder: Encoder; its width is the network's.
        trajectories: What the data says of itself: sizes, and moments of numbers.
        latent: Family of the latents.
        reward: How the decoder says a reward.
        recurrent_posterior: Whether the posterior reads the recurrent state, too.
        use_action: Whether actions are read; without them it is an ablation.
        image_width: Channels after the first convolution of images; twice as many after the next.
    """

    reads_images = stochastic = True

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any],
        latent: Latent,
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        recurrent_posterior: bool = False,
        use_action: bool = True,
        image_width: int = 8,
    ) -> None:
        super().__init__(trajectories, reward, use_action)
        self.encoder, self.latent, self.recurrent = encoder, latent, recurrent_posterior
        width = encoder.width
        self.eyes = Images(self.images, width + latent.size, image_width)
        seen = self.size + self.eyes.size + width * recurrent_posterior
        self.posterior = mlp(seen, width, latent.raw_size)
        self.prior = mlp(width, width, latent.raw_size)
        self.project = nn.Linear(latent.size + self.actions, width)
        self.decoder = mlp(width + latent.size, width, self.size + reward.size + 1)

    def forward(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Beliefs, State]:
        """Read rows: in one pass, or step by step with a recurrent posterior."""
        run = self._one_by_one if self.recurrent else self._at_once
        features, posterior, latent, last = run(batch, state)
        code = torch.cat([features, latent], dim=-1)
        beliefs = Beliefs(posterior, self.prior(features), self.decoder(code), code)
        return beliefs, (last, features[:, -1])

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what should be decoded: observation (B, R, O), reward and going on (B, R)."""
        seen, reward = self.scaled(batch["observation"]), self.scaled_reward(batch["prev_reward"])
        return seen, reward, (~batch["is_terminal"]).to(seen)

    def imagine(
        self, observation: Seen, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict what comes of actions (N, H, A), from N observations on, or from one."""
        last, features = self._begin(len(actions)) if state is None else state
        seen = self._seen(by_key(observation)).expand(len(actions), -1)
        latent = self._draw(self._posterior(seen, features))
        known, codes = self.scaled_action(actions), []
        for action in known.unbind(1):
            features, last = self.encoder.step(self._input(latent, action), last)
            latent = self._draw(self.prior(features))
            codes.append(torch.cat([features, latent], dim=-1))
        code = torch.stack(codes, dim=1)
        seen, reward, proceeds = self.parts(self.decoder(code))
        free = seen * self.observation[1] + self.observation[0]
        images = self.eyes.frames(code)
        return self.prediction(free, reward, proceeds, images), (last, features)

    def _seen(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Return what a posterior reads: numbers in standard deviations, features of images."""
        return torch.cat([self.scaled(rows["observation"]), *self.eyes.features(rows)], dim=-1)

    def _at_once(self, batch: dict[str, Tensor], state: State | None) -> tuple[Any, ...]:
        posterior = self._posterior(self._seen(batch), None)
        latent = self._draw(posterior)
        x, first = self._inputs(latent, batch)
        if state is None:
            features, last = self.encoder(x, None, reset=first)
            return features, posterior, latent, last
        last, present = state
        if x.shape[1] > 1:
            following, last = self.encoder(x[:, 1:], last, reset=first[:, 1:])
            present = torch.cat([present.unsqueeze(1), following], dim=1)
        else:
            present = present.unsqueeze(1)
        return present, posterior, latent, last

    def _one_by_one(self, batch: dict[str, Tensor], state: State | None) -> tuple[Any, ...]:
        seen, action = self._seen(batch), self.scaled_action(batch["prev_action"])
        first = batch["is_first"]
        last, present = self._begin(len(seen)) if state is None else state
        latent, rows = seen.new_zeros(len(seen), self.latent.size), []
        for t in range(seen.shape[1]):
            if t > 0:
                going = ~first[:, t, None]
                x = self._input(latent * going, action[:, t] * going)
                present, last = self.encoder.step(x, last, first[:, t])
            posterior = self._posterior(seen[:, t], present)
            latent = self._draw(posterior)
            rows.append((present, posterior, latent))
        return *(torch.stack(x, dim=1) for x in zip(*rows, strict=True)), last

    def _inputs(self, latent: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the encoder's inputs, and where an episode begins: at the first row, too."""
        first = batch["is_first"].clone()
        first[:, 0] = True
        before = torch.cat([torch.zeros_like(latent[:, :1]), latent[:, :-1]], dim=1)
        going = ~first.unsqueeze(-1)
        return self._input(before * going, self.scaled_action(batch["prev_action"]) * going), first

    def _input(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.project(torch.cat([latent, action], dim=-1))

    def _begin(self, count: int) -> State:
        """Return the state at the first row of an episode."""
        like = self.project.weight
        nothing = self._input(
            like.new_zeros(count, self.latent.size), like.new_zeros(count, self.actions)
        )
        features, last = self.encoder.step(nothing)
        return last, features

    def _posterior(self, seen: Tensor, features: Tensor | None) -> Tensor:
        if self.recurrent:
            assert features is not None
            seen = torch.cat([seen, features], dim=-1)
        return self.posterior(seen)

    def _draw(self, raw: Tensor) -> Tensor:
        draws = self.training or self.sampling
        return self.latent.sample(raw) if draws else self.latent.mean(raw)


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a network with one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
