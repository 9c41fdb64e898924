"""Planners on a model whose best actions are known, and an agent's state between its actions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from world.networks import network, whole

from paratime.errors import InputError
from paratime.layers.state import expand
from paratime.testing import TOLERANCE
from paratime.world.model.base import Prediction
from paratime.world.planning.planners import CEM, MPPI, Agent, RandomShooting


class Line(nn.Module):
    """A point on a line is moved by its action; it is best to stay where it says."""

    def __init__(self, best: float, choices: int = 0, ends: bool = False) -> None:
        super().__init__()
        self.best, self.choices, self.ends = best, choices, ends
        size = choices or 1
        self.action_range = torch.tensor([[-2.0] * size, [2.0] * size])
        self.seen: list[Tensor] = []

    def moves(self, actions: Tensor) -> Tensor:
        return actions.argmax(-1) - 1.0 if self.choices else actions.squeeze(-1)

    def imagine(self, observation: Tensor, actions: Tensor, state: object) -> tuple:
        self.seen.append(actions)
        place = observation + self.moves(actions).cumsum(1)
        near = (place - self.best).abs() < 0.5
        cont = torch.where(near, 0.0, 1.0) if self.ends else torch.ones_like(place)
        reward = -(place - self.best).abs()
        outside = place[..., None].abs().amax(-1) > 5
        return Prediction(place[..., None], reward, cont, outside), state

    def step(self, observation: Tensor, action: Tensor, state: object) -> tuple:
        return None, (torch.zeros(1) if state is None else state[0] + 1,)


PLANNERS = {
    "cem": CEM(horizon=6),
    "mppi": MPPI(horizon=6),
    "shooting": RandomShooting(horizon=3, candidates=2000),
}


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("best", (-3.0, 1.3))
def test_numbers_move_to_where_it_is_best(name, best):
    agent = Agent(Line(best), PLANNERS[name], discrete=False)
    place = torch.zeros(1)
    for _ in range(4):
        action = agent.act(place)
        assert action.shape == (1,) and action.abs() <= 2
        place = place + action
    assert abs(float(place) - best) < 0.5


@pytest.mark.parametrize("name", PLANNERS)
def test_choices_move_to_where_it_is_best(name):
    model = Line(2.0, choices=3)
    agent = Agent(model, PLANNERS[name], discrete=True)
    place = torch.zeros(1)
    for _ in range(4):
        action = agent.act(place)
        assert sorted(action.tolist()) == [0, 0, 1]
        place = place + action.argmax() - 1
    assert float(place) == 2.0
    assert all(((x == 0) | (x == 1)).all() and (x.sum(-1) == 1).all() for x in model.seen)


def test_nothing_is_gained_behind_an_end():
    model = Line(1.0, ends=True)
    agent = Agent(model, CEM(horizon=8, discount=1.0), discrete=False)
    free = Agent(Line(1.0), CEM(horizon=8, discount=1.0), discrete=False)
    candidates = torch.full((2, 8, 1), 0.5)  # the place is 1 after the first step
    observation = torch.zeros(1)
    assert torch.allclose(agent._returns(observation, candidates), torch.zeros(2), atol=1e-6)
    assert (free._returns(observation, candidates) < -15).all()


def test_costs_are_subtracted():
    def away(found: Prediction, actions: Tensor) -> Tensor:
        return -10 * found.observation[..., 0]

    agent = Agent(Line(0.0), CEM(horizon=5), discrete=False, cost=away)
    assert agent.act(torch.zeros(1)) > 1.5


def test_a_cost_is_a_number_a_step():
    agent = Agent(Line(0.0), CEM(horizon=5), False, cost=lambda found, actions: actions.sum())
    with pytest.raises(InputError, match=r"cost: expected a tensor \(256, 5\).*got \(\)"):
        agent.act(torch.zeros(1))


def test_a_cost_may_have_any_precision_and_what_is_seen_must_be_finite():
    agent = Agent(Line(0.0), CEM(horizon=5), False, cost=lambda x, _: -2 * x.reward.double())
    assert agent.act(torch.zeros(1)).isfinite().all()
    with pytest.raises(InputError, match="observation: expected finite numbers"):
        agent.act(torch.full((1,), torch.nan))


@pytest.mark.parametrize("name", PLANNERS)
def test_what_is_not_finite_is_never_planned(name):
    def odd(found: Prediction, actions: Tensor) -> Tensor:
        return torch.where(actions[..., 0] > 0.5, torch.nan, -actions[..., 0])

    agent = Agent(Line(0.0), PLANNERS[name], discrete=False, cost=odd)
    assert agent.act(torch.zeros(1)) <= 0.5
    assert 0 < agent.outside < agent.tried
    agent = Agent(Line(0.0), CEM(), False, cost=lambda found, _: found.reward * torch.nan)
    with pytest.raises(InputError, match="returns of rollouts at step 0: expected finite values"):
        agent.act(torch.zeros(1))


def test_diverged_rollouts_are_counted():
    agent = Agent(Line(20.0), CEM(horizon=6, candidates=50, iterations=3), discrete=False)
    agent.act(torch.zeros(1))
    assert agent.tried == 150 and 50 < agent.outside < 150


def test_plans_are_a_function_of_the_seed_and_reset():
    def actions(agent: Agent) -> list[float]:
        return [float(agent.act(torch.zeros(1))) for _ in range(3)]

    first, same, other = (Agent(Line(1.0), CEM(), False, seed=s) for s in (1, 1, 2))
    assert actions(first) == actions(same) != actions(other)
    assert first._state == (torch.tensor([2.0]),)
    first.reset()
    assert first._state is None and not first._plan.mean.any()


@pytest.mark.parametrize("name", ("cem", "mppi"))
def test_the_state_of_a_network_goes_on(name):
    net, batch = network().float(), whole()
    agent = Agent(net, PLANNERS[name], discrete=False)
    state = None
    for t in range(4):
        observation = batch["observation"][2, t].float()
        action = agent.act(observation)
        with torch.no_grad():
            _, state = net.step(observation[None], action[None], state)
    for a, b in zip(agent._state[1], state[1], strict=True):
        torch.testing.assert_close(a, b)
    tripled = expand(state, 3)
    assert tripled[0][0].shape[0] == 3 and torch.equal(tripled[0][0][2], state[0][0][0])


@pytest.mark.parametrize("planner", (CEM(candidates=1), MPPI(candidates=1)))
def test_a_single_candidate_is_what_is_done(planner):
    agent = Agent(Line(1.0), planner, discrete=False)
    assert agent.act(torch.zeros(1)).isfinite().all() and agent._plan.mean.isfinite().all()


def test_numbers_that_make_no_plan_are_refused():
    with pytest.raises(InputError, match="horizon: expected at least 1, got 0"):
        CEM(horizon=0)
    with pytest.raises(InputError, match=r"elites: expected more than 0, and at most 1, got 1\.5"):
        CEM(elites=1.5)
    with pytest.raises(InputError, match="discount: expected more than 0, and at most 1, got 0"):
        MPPI(discount=0)
    with pytest.raises(InputError, match="temperature: expected more than 0, got -1"):
        MPPI(temperature=-1)


class Cliff(Line):
    """What lies beyond 5 is unknown, and is said to be best."""

    def imagine(self, observation: Tensor, actions: Tensor, state: object) -> tuple:
        found, state = super().imagine(observation, actions, state)
        return replace(found, reward=found.observation.squeeze(-1)), state


@pytest.mark.parametrize("name", ("cem", "mppi"))
@pytest.mark.parametrize("floor", (None, -10.0))
def test_what_is_guessed_beyond_the_data_is_worth_its_least(name, floor):
    agent = Agent(Cliff(0.0), PLANNERS[name], discrete=False, floor=floor)
    place = torch.zeros(1)
    for _ in range(6):
        place = place + agent.act(place)
    assert (float(place) > 5.5) == (floor is None)
    inside = place
    place = torch.tensor([20.0])  # everything is a guess here, and the best of these is taken
    for _ in range(3):
        place = place + agent.act(place)
    assert float(place) > 22 and inside.isfinite().all()


@pytest.mark.parametrize("name", PLANNERS)
def test_doing_nothing_is_tried(name):
    def effort(found: Prediction, actions: Tensor) -> Tensor:
        return 10 * actions.abs().squeeze(-1)

    idle = torch.zeros(1)
    agent = Agent(Line(0.0), PLANNERS[name], discrete=False, cost=effort, idle=idle)
    for _ in range(3):
        assert abs(float(agent.act(torch.zeros(1)))) <= TOLERANCE[torch.float32].value


def test_an_episode_with_a_seed_depends_on_no_other():
    agent = Agent(Line(1.0), CEM(horizon=3, candidates=8), discrete=False)
    first = []
    for before in (0, 3):
        agent.reset(9)
        for _ in range(before):
            agent.act(torch.zeros(1))
        agent.reset(7)
        first.append(agent.act(torch.zeros(1)))
    assert torch.equal(*first)


class Goal(Line):
    """The episode ends with a reward at a place; what is predicted after it is beyond the data."""

    def imagine(self, observation: Tensor, actions: Tensor, state: object) -> tuple:
        found, state = super().imagine(observation, actions, state)
        ended = (found.cont < 0.5).long().cumsum(1)
        reward = torch.where(found.cont < 0.5, 1.0, 0.0)
        return replace(found, reward=reward, outside=(ended > 0) & (found.cont > 0.5)), state


@pytest.mark.parametrize("name", PLANNERS)
def test_what_follows_the_end_of_an_episode_is_no_guess(name):
    agent = Agent(Goal(3.0, ends=True), PLANNERS[name], discrete=False, floor=-10.0)
    place = torch.zeros(1)
    for _ in range(4):
        if abs(float(place) - 3) < 0.5:
            return
        place = place + agent.act(place)
    raise AssertionError(f"stays at {float(place):.1f}")
