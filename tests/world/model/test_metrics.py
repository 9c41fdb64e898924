"""Figures of rollouts, beside numbers computed by hand."""

import pytest
import torch
from torch import Tensor
from world.networks import network, rows, whole

from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.model.base import Prediction
from paratime.world.model.metrics import Continuation, ImaginationError, RewardError, Sensitivity
from paratime.world.model.rollout import RolloutScores

SCALE = torch.tensor([1.0, 2.0])


def about(observation: Tensor, outside: Tensor | None = None) -> Prediction:
    nothing = torch.zeros(observation.shape[:2])
    return Prediction(observation, nothing, nothing, nothing.bool() if outside is None else outside)


def rollouts(count: int = 3, steps: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return guesses of 1, truths of 0, starts of 2, and that there are all steps."""
    guess, there = torch.ones(count, steps, 2), torch.ones(count, steps, dtype=torch.bool)
    return guess, torch.zeros(count, steps, 2), torch.full((count, 2), 2.0), there


def test_errors_by_horizon():
    guess, truth, start, there = rollouts()
    there[1:, 1:] = False
    guess[0, 4], guess[1, 0] = 4.0, 2.0
    outside = torch.zeros(3, 6, dtype=torch.bool)
    outside[2, 0] = outside[1, 5] = True
    metric = ImaginationError(50, SCALE)
    metric.update(about(guess, outside), truth, start, there)
    found = metric.compute()
    assert found["diverged"] == pytest.approx(1 / 3), "the other is behind its end"
    assert found["not_finite"] == 0 and "nrmse@10" not in found
    mean = (1 + 0.25) / 2
    assert found["nrmse@1"] == pytest.approx(((1 + 1 + 4) * mean / 3) ** 0.5)
    assert found["median@1"] == pytest.approx(mean**0.5)
    assert found["nrmse@5"] == found["median@5"] == pytest.approx((16 * mean) ** 0.5)
    assert found["persistence@5"] == pytest.approx((4 * mean) ** 0.5)
    assert found["skill@1"] == pytest.approx(1 - 0.5**0.5)
    assert found["skill@5"] == pytest.approx(-1.0)


def test_where_nothing_moves_there_is_no_skill():
    guess, truth, start, there = rollouts()
    metric = ImaginationError(7, SCALE)
    metric.update(about(guess), truth, torch.zeros_like(start), there)
    found = metric.compute()
    assert found["persistence@5"] == 0 and "skill@5" not in found
    assert [name for name in found if name.startswith("nrmse")] == ["nrmse@1", "nrmse@5"]
    longer = ImaginationError(6, SCALE)
    longer.update(about(guess), truth, start, there)
    assert "nrmse@6" in longer.compute(), "the last step of a rollout has a row"


def test_a_rollout_diverges_far_off_or_where_it_is_not_finite_and_spoils_no_mean():
    guess, truth, start, there = rollouts(4)
    guess[0, 5] = 7.0  # 5.53 standard deviations
    guess[1, 5] = 6.0  # 4.74
    guess[2, 0, 1] = torch.nan
    metric = ImaginationError(50, SCALE)
    metric.update(about(guess), truth, start, there)
    found = metric.compute()
    assert found["diverged"] == 0.5 and found["not_finite"] == 0.25
    mean = (1 + 0.25) / 2
    assert found["nrmse@1"] == found["median@1"] == pytest.approx(mean**0.5)
    guess[:3, 0] = torch.inf
    metric.update(about(guess), truth, start, there)
    found = metric.compute()
    assert found["median@1"] == pytest.approx(mean**0.5) and found["skill@1"] == pytest.approx(0.5)
    guess[:] = torch.nan
    for _ in range(2):
        metric.update(about(guess), truth, start, there)
    found = metric.compute()
    assert found["median@1"].isinf() and found["nrmse@1"] == pytest.approx(mean**0.5)


def test_a_reward_that_is_not_finite_is_said():
    guess, truth, start, there = rollouts(2)
    prediction = about(guess)
    prediction.reward[0, 3] = torch.inf
    metric = ImaginationError(5, SCALE)
    metric.update(prediction, truth, start, there)
    assert metric.compute()["not_finite"] == metric.compute()["diverged"] == 0.5


def test_images_alone_have_no_errors_of_numbers():
    metric = ImaginationError(50, torch.zeros(0))
    guess, truth, start, there = (x[..., :0] if x.dim() > 1 else x for x in rollouts())
    there = torch.ones(3, 6, dtype=torch.bool)
    metric.update(about(guess), truth, start, there)
    assert metric.compute() == {"diverged": 0, "not_finite": 0}


def test_sensitivity_is_a_ratio_over_what_both_have():
    guess, truth, _, there = rollouts(2)
    there[1, 4:] = False
    other = guess.clone()
    other[0], other[1] = 3.0, 1.0
    metric = Sensitivity(50, SCALE)
    metric.update(guess, other, truth, there)
    found = metric.compute()
    assert {*found} == {f"{name}@{h}" for name in ("sensitivity", "pairs") for h in (1, 5)}
    assert found["sensitivity@1"] == pytest.approx(5**0.5)
    assert found["sensitivity@5"] == pytest.approx(3)


def test_rewards_are_in_standard_deviations():
    metric = RewardError(2.0)
    truth = torch.tensor([[1.0, 2.0, 3.0]])
    found = torch.tensor([[5.0, 2.0, 9.0]])
    metric.update(found, truth, torch.tensor([[True, True, False]]))
    metric.update(torch.full((1, 3), torch.nan), truth, torch.ones(1, 3, dtype=torch.bool))
    assert metric.compute()["reward_nrmse"] == pytest.approx(2**0.5)


def test_going_on_is_ranked_and_calibrated():
    metric = Continuation()
    chance = torch.tensor([[0.9, 0.8, 0.3, 0.4, 0.0], [0.5, torch.nan, 0.5, 0.5, 0.5]])
    truth = torch.tensor([[True, False, False, True, True]] * 2)
    there = torch.tensor([[True, True, True, True, False], [False, True, False, False, False]])
    metric.update(chance, truth, there)
    found = metric.compute()
    assert found["cont_auroc"] == pytest.approx(3 / 4), "0.9 above both, 0.4 above one"
    assert found["calibration"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.6) / 4)
    metric.reset()
    metric.update(chance[:1], torch.ones(1, 5, dtype=torch.bool), there[:1])
    found = metric.compute()
    assert {*found} == {"calibration", "ends"} and found["ends"] == 0, "one class has no ranks"
    assert found["calibration"] == pytest.approx((0.1 + 0.2 + 0.7 + 0.6) / 4)


@pytest.mark.parametrize("use_action", (True, False))
def test_all_figures_of_a_model(use_action):
    net, scores = network(use_action=use_action), RolloutScores(SPEC, 5)
    for _ in range(2):
        scores.reset()
        scores.update(net, whole(), 2)
        found = scores.compute()
    assert {"nrmse@1", "median@5", "skill@5", "reward_nrmse", "cont_auroc"} < {*found}
    assert (found["sensitivity@5"] == 1) == (not use_action)
    assert all(x.isfinite() for x in found.values())


def test_one_episode_has_no_others_actions():
    scores = RolloutScores(SPEC, 5)
    scores.update(network(), {key: x[2:] for key, x in whole().items()}, 2)
    found = scores.compute()
    assert "nrmse@5" in found and "sensitivity@5" not in found


SPEC = TrajectorySpec(Moments.of(rows()))
