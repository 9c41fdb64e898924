"""What all world models share: what they predict, and in which units."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops.precision import KeepsPrecision, precise
from paratime.world.data.episode import VECTOR, image_shapes
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.rewards import RewardHead

State = tuple[Any, ...]
Observation = Tensor | Mapping[str, Tensor]
"""An observation: its vector (..., O), or by key as in batches, with images (..., H, W, C)."""

MARGIN = 0.05
"""Share of the range of the training data that a prediction may be outside it."""


@dataclass(frozen=True)
class Prediction:
    """The consequences of actions, in the units of the environment.

    Attributes:
        observation: The next observation, (..., O).
        reward: (...,).
        cont: Probability that the episode continues, (...,).
        outside: Whether the prediction left the range of the training data, and was clamped to it,
            bool (...,).
        images: Images by key, floats in [0, 1], (..., H, W, C), if the model sees any.
    """

    observation: Tensor
    reward: Tensor
    cont: Tensor
    outside: Tensor
    images: Mapping[str, Tensor] = field(default_factory=dict)


class WorldModel(KeepsPrecision, ABC):
    """A model that reads trajectories in one pass, and imagines the consequences of actions.

    Args:
        spec: Sizes and statistics of the data.
        reward_head: How rewards are represented.
        use_action: Whether actions are read; without them it is an ablation.

    Raises:
        InputError: The data has images, and the model reads none.
    """

    reads_images = False
    """Whether observations may have images, whose shapes by key are ``images``."""

    observation: Tensor
    change: Tensor
    reward: Tensor
    range: Tensor
    action_range: Tensor

    stochastic = False
    """Whether it has several possible outcomes; it draws one of them while ``sampling``."""
    sampling = False

    def __init__(
        self, spec: TrajectorySpec, reward_head: RewardHead, use_action: bool = True
    ) -> None:
        super().__init__()
        self.use_action = use_action
        self.reward_head = reward_head.reaching(spec.moments.reward_extent)
        moments, self.labels = vars(spec.moments), [*spec.labels(), "reward"]
        self.images = image_shapes(spec.observation)
        if self.images and not self.reads_images:
            raise InputError(
                "observation", "vectors", f"images: {', '.join(self.images)}", "use WorldTask"
            )
        for name in ("observation", "change", "reward"):
            self.register_buffer(name, torch.tensor(moments[name], dtype=torch.float32))
        ends = {"range": ("lowest", "highest"), "action_range": ("action_lowest", "action_highest")}
        for name, (low, high) in ends.items():
            self.register_buffer(name, torch.tensor([moments[low], moments[high]]))
        self.size, self.actions = self.observation.shape[1], self.action_range.shape[1]

    @abstractmethod
    def forward(self, batch: dict[str, Tensor], state: State | None = None) -> tuple[Any, State]:
        """Read rows (B, L + 1, ...), from a state before them to the state at the last of them.

        Args:
            batch: ``observation``, images by key, ``prev_action``, ``is_first``.
            state: The result of an earlier call, whose last row is the first one here.

        Returns:
            The input of the loss, and the state from which the last row's action is imagined.
        """

    @abstractmethod
    def imagine(
        self, observation: Observation, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict the consequences of actions (N, H, A), from N observations, or from one."""

    def step(
        self, observation: Observation, action: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict the consequences of an action (N, A) at N observations, or at one."""
        found, state = self.imagine(observation, action.unsqueeze(1), state)
        names = ("observation", "reward", "cont", "outside")
        values = {name: getattr(found, name)[:, 0] for name in names}
        images = {key: x[:, 0] for key, x in found.images.items()}
        return Prediction(**values, images=images), state

    def scaled(self, observation: Tensor) -> Tensor:
        """Return observations in standard deviations from their mean."""
        return (observation - self.observation[0]) / self.observation[1]

    def scaled_action(self, action: Tensor) -> Tensor:
        """Return actions between -1 and 1, zeros if they are not read."""
        low, high = self.action_range
        spread = torch.where(high > low, high - low, 1.0)
        return (2 * action - low - high) / spread * self.use_action

    def scaled_reward(self, reward: Tensor) -> Tensor:
        """Return rewards in standard deviations from their mean."""
        return (reward - self.reward[0]) / self.reward[1]

    def parts(self, outputs: Tensor) -> list[Tensor]:
        """Split a head's outputs into an observation, a reward, and the logit of continuing.

        They are float32 at least, as all that is computed from them.
        """
        return list(precise(outputs).split([self.size, self.reward_head.size, 1], dim=-1))

    def prediction(
        self,
        free: Tensor,
        *,
        reward: Tensor,
        cont: Tensor,
        images: Mapping[str, Tensor] | None = None,
    ) -> Prediction:
        """Return a prediction in the range of the training data.

        Args:
            free: Observations that may be outside that range, (..., O).
            reward: Outputs of the reward head, (..., size).
            cont: Logits of continuing, (..., 1).
            images: By key.
        """
        low, high = self.range
        clamped = free.clamp(low, high)
        return Prediction(
            clamped,
            reward=self.reward_head.mean(reward) * self.reward[1] + self.reward[0],
            cont=cont.squeeze(-1).sigmoid(),
            outside=((free - clamped).abs() > MARGIN * (high - low) + 1e-6).any(-1),
            images=images or {},
        )


def by_key(observation: Observation) -> Mapping[str, Tensor]:
    """Return an observation by key, as batches have it."""
    return {VECTOR: observation} if isinstance(observation, Tensor) else observation
