"""Planning with a model: candidates are rolled out, and the plan moves to the better ones.

A plan is a distribution of actions for each step ahead: normal with a mean and a deviation, in
units of half the range of actions, or a probability of each choice. The cross-entropy method
(Rubinstein, 1999) moves it to the mean of the best candidates, MPPI (Williams et al., 2017) to a
mean of all of them weighted by exp(return / temperature), and random shooting does not move it at
all. The agent takes the first action of the best candidate.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError, check_at_least
from paratime.layers.state import expand
from paratime.world.data.episode import VECTOR
from paratime.world.model.base import Observation, Prediction, WorldModel, by_key

GUESS = 0.01
"""Weight of what a model guesses outside of the training data."""

Cost = Callable[[Prediction, Tensor], Tensor]
"""From predictions (N, H, ...) and actions (N, H, A) to costs (N, H)."""


@dataclass(frozen=True)
class Planner(ABC):
    """A strategy to choose the next plan from the returns of candidates.

    Args:
        horizon: Steps ahead.
        candidates: Action sequences that are tried in each iteration.
        iterations: How often the plan moves.
        discount: Worth of a reward one step later.
    """

    horizon: int = 20
    candidates: int = 256
    iterations: int = 4
    discount: float = 0.99

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(
            1, horizon=self.horizon, candidates=self.candidates, iterations=self.iterations
        )
        _check_share("discount", self.discount)

    @abstractmethod
    def weights(self, returns: Tensor) -> Tensor:
        """Return the weight of each candidate (N,) in the next plan; they add up to 1."""


@dataclass(frozen=True)
class CEM(Planner):
    """The cross-entropy method.

    Args:
        elites: Share of the candidates that the plan moves to.
    """

    elites: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        _check_share("elites", self.elites)

    def weights(self, returns: Tensor) -> Tensor:
        """Weight the best candidates equally."""
        count = max(1, round(self.elites * len(returns)))
        best = returns.topk(count).indices
        return torch.zeros_like(returns).index_fill(0, best, 1 / count)


@dataclass(frozen=True)
class MPPI(Planner):
    """Model predictive path integral control.

    Args:
        temperature: Difference in return, in standard deviations, that multiplies a weight by e.
    """

    temperature: float = 0.3

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if not self.temperature > 0:
            raise InputError("temperature", "more than 0", f"{self.temperature:g}", "raise it")

    def weights(self, returns: Tensor) -> Tensor:
        """Weight candidates by the exponential of their returns."""
        return (returns / (returns.std(correction=0).clamp(min=1e-6) * self.temperature)).softmax(0)


@dataclass(frozen=True)
class RandomShooting(Planner):
    """The best of candidates that are drawn once; further iterations draw near the best.

    Args:
        iterations: How often candidates are drawn.
    """

    iterations: int = 1

    def weights(self, returns: Tensor) -> Tensor:
        """Weight the best candidate alone."""
        return functional.one_hot(returns.argmax(), len(returns)).to(returns)


@dataclass(frozen=True, eq=False)
class Plan:
    """A distribution of actions ahead.

    Attributes:
        mean: Means (H, A) in units of half the range of actions, or probabilities of choices.
        spread: Deviations (H, A); unused for choices.
    """

    mean: Tensor
    spread: Tensor


class Agent:
    """Acts in an environment by planning with a model: one episode at a time.

    Args:
        network: The model.
        planner: How to plan.
        discrete: Whether actions are choices.
        cost: Subtracted from the predicted reward at each step, or None.
        seed: Seed of the candidates.
        bounds: Least and greatest actions (2, A) that are tried; by default those of the training
            data. A choice whose greatest value is 0 is not tried.
        legal: From actions (..., A) to the nearest that the environment accepts; all by default.
        idle: An action (A,), such as zeros, whose repetition is among the candidates; None if it
            has no meaning, as for choices.
        floor: Worth of each step after a rollout has left the range of the training data before its
            end, where the model guesses (after MOReL, arXiv 2005.05951); None to trust it.
    """

    def __init__(
        self,
        network: WorldModel,
        planner: Planner,
        discrete: bool,
        cost: Cost | None = None,
        seed: int = 0,
        bounds: Tensor | None = None,
        legal: Callable[[Tensor], Tensor] | None = None,
        idle: Tensor | None = None,
        floor: float | None = None,
    ) -> None:
        self._network, self._planner, self.discrete = network.eval(), planner, discrete
        self._cost, self._random = cost, torch.Generator().manual_seed(seed)
        self._bounds = network.action_range if bounds is None else bounds.to(network.action_range)
        self._legal, self._floor = legal, floor
        self._idle = None if idle is None else self._unscaled(idle.to(self._bounds))
        self.outside = 0
        """Candidates whose rollouts left the range of the training data, or whose return is not
        finite; the latter count as the worst finite one."""
        self.tried = 0
        """All candidates."""
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; with a seed, its candidates depend on no earlier episode."""
        if seed is not None:
            self._random.manual_seed(seed)
        self._state: tuple[Any, ...] | None = None
        self._taken = 0
        self._plan = self._blank(self._planner.horizon)

    @torch.inference_mode()
    def act(self, observation: Observation) -> Tensor:
        """Return the action (A,) at an observation, (O,) or by key, one-hot if it is a choice."""
        seen = _batch_of_one(observation)
        if not by_key(seen)[VECTOR].isfinite().all():
            raise InputError("observation", "finite numbers", "others", "mend the environment")
        plan, best, most = self._plan, self._plan.mean, -torch.inf
        for _ in range(self._planner.iterations):
            candidates = self._sample(plan)
            returns = self._returns(seen, candidates)
            if returns.max() > most:
                best, most = candidates[int(returns.argmax())], float(returns.max())
            plan = self._moved(plan, candidates, self._planner.weights(returns))
        action = best[0] if self.discrete else self._scaled(best[0])
        _, self._state = self._network.step(seen, action[None], self._state)
        rest = self._blank(1)
        self._taken += 1
        self._plan = Plan(torch.cat([plan.mean[1:], rest.mean]), self._blank(len(best)).spread)
        return action

    def _returns(self, seen: Observation, candidates: Tensor) -> Tensor:
        count = len(candidates)
        actions = candidates if self.discrete else self._scaled(candidates)
        state = None if self._state is None else expand(self._state, count)
        found, _ = self._network.imagine(seen, actions, state)
        gain = found.reward if self._cost is None else found.reward - self._costs(found, actions)
        alive = torch.cat([torch.ones(count, 1), found.cont[:, :-1]], dim=1).cumprod(1)
        worth = self._planner.discount ** torch.arange(gain.shape[1])
        outside = found.outside & (alive > 0.5)  # what follows an end means nothing
        returns = self._worth(gain * alive, outside, worth)
        finite = returns.isfinite()
        if not finite.any():
            raise InputError(
                f"returns of rollouts at step {self._taken}",
                expected="finite values",
                got="none",
                remedy="train longer, or check the cost; see paratime doctor",
            )
        self.outside += int((outside.any(1) | ~finite).sum())
        self.tried += count
        return returns.where(finite, returns[finite].min())

    def _worth(self, gain: Tensor, outside: Tensor, worth: Tensor) -> Tensor:
        """Return the returns (N,) of gains (N, H); guesses count where nothing else differs."""
        returns = (gain * worth).sum(1)
        if self._floor is None:
            return returns
        left = outside.cumsum(1) > 0
        return (gain.masked_fill(left, self._floor) * worth).sum(1) + GUESS * returns

    def _costs(self, found: Prediction, actions: Tensor) -> Tensor:
        assert self._cost is not None
        costs, shape = self._cost(found, actions), tuple(found.reward.shape)
        if tuple(getattr(costs, "shape", ())) != shape:
            raise InputError(
                "cost",
                expected=f"a tensor {shape}, a number a step",
                got=str(tuple(costs.shape)) if isinstance(costs, Tensor) else repr(costs),
                remedy="return that",
            )
        return costs.to(found.reward)

    def _sample(self, plan: Plan) -> Tensor:
        count, (horizon, size) = self._planner.candidates, plan.mean.shape
        if self.discrete:
            uniform = torch.rand(count, horizon, 1, generator=self._random)
            last = int(self._allowed.nonzero()[-1])
            choice = (plan.mean.cumsum(-1) < uniform).sum(-1).clamp(max=last)
            return functional.one_hot(choice, size).to(plan.mean)
        noise = torch.randn(count, horizon, size, generator=self._random)
        drawn = (plan.mean + plan.spread * noise).clamp(-1, 1)
        if self._idle is not None:
            drawn[0] = self._idle
        return drawn

    def _moved(self, plan: Plan, candidates: Tensor, weights: Tensor) -> Plan:
        weights = weights.to(candidates)
        mean = torch.einsum("n,nha->ha", weights, candidates)
        if self.discrete:
            allowed = self._allowed
            mean = 0.9 * mean + 0.1 / int(allowed.sum())  # no choice dies out
            return Plan(mean * allowed, plan.spread)
        variance = torch.einsum("n,nha->ha", weights, (candidates - mean).square())
        return Plan(mean, variance.sqrt().clamp(min=0.05))

    def _blank(self, steps: int) -> Plan:
        size = self._network.action_range.shape[1]
        mean = torch.zeros(steps, size)
        if self.discrete:
            mean += self._allowed / self._allowed.sum()
        return Plan(mean, torch.ones(steps, size))

    @property
    def _allowed(self) -> Tensor:
        return self._bounds[1] > 0

    def _scaled(self, action: Tensor) -> Tensor:
        low, high = self._bounds
        actions = low + (action + 1) / 2 * (high - low)
        return actions if self._legal is None else self._legal(actions).clamp(low, high)

    def _unscaled(self, action: Tensor) -> Tensor:
        low, high = self._bounds
        return (2 * (action - low) / (high - low).clamp(min=1e-12) - 1).clamp(-1, 1)


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InputError(name, "more than 0, and at most 1", f"{value:g}", "correct it")


def _batch_of_one(observation: Observation) -> Observation:
    if isinstance(observation, Tensor):
        return observation[None]
    return {key: x[None] for key, x in observation.items()}
