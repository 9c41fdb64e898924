"""What heads say of rewards: their means come back, and their losses are least at the truth."""

import pytest
import torch
from torch.nn import functional

from paratime.errors import InputError
from paratime.testing import TOLERANCE
from paratime.world.model.rewards import MSE, RewardHead, Symlog, TwoHot, symexp, symlog

CLOSE = TOLERANCE[torch.float64].value
HEADS: dict[str, RewardHead] = {"mse": MSE(), "symlog": Symlog(), "two-hot": TwoHot(9, 2.0)}
REWARDS = torch.tensor([-3.0, -0.5, 0.0, 0.1, 2.0, 6.0], dtype=torch.float64)


def said(head: RewardHead) -> torch.Tensor:
    """Return the numbers that say the rewards exactly."""
    if isinstance(head, TwoHot):
        return head._shares(REWARDS).log()
    return (symlog(REWARDS) if isinstance(head, Symlog) else REWARDS).unsqueeze(-1)


@pytest.mark.parametrize("name", HEADS)
def test_a_reward_is_said_and_understood(name):
    head, raw = HEADS[name], said(HEADS[name])
    assert raw.shape == (6, head.size) and (head.mean(raw) - REWARDS).abs().max() <= CLOSE


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_least_at_the_truth(name):
    head, raw = HEADS[name], said(HEADS[name]).clamp(min=-30).requires_grad_()
    (slope,) = torch.autograd.grad(head.loss(raw, REWARDS).sum(), raw)
    assert slope.abs().max() <= 1e-9
    worse = head.loss(raw + torch.randn(raw.shape, dtype=torch.float64).sign(), REWARDS)
    assert (worse > head.loss(raw, REWARDS)).all() or name == "two-hot"
    assert worse.sum() > head.loss(raw, REWARDS).sum()


def test_two_bins_share_a_reward_by_its_place_between_them():
    head = TwoHot(5, 2.0)
    values = symexp(torch.linspace(-2, 2, 5))
    between = 0.25 * values[3] + 0.75 * values[4]
    shares = head._shares(torch.stack([between, values[1], torch.tensor(1e6)]))
    expected = [[0, 0, 0, 0.25, 0.75], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]
    torch.testing.assert_close(shares, torch.tensor(expected), atol=1e-6, rtol=0)
    raw = torch.randn(3, 5)
    torch.testing.assert_close(
        head.loss(raw, torch.stack([between, values[1], values[4]])),
        functional.cross_entropy(raw, shares, reduction="none"),
    )


def test_symlog_has_its_inverse_and_one_bin_is_refused():
    assert (symexp(symlog(REWARDS)) - REWARDS).abs().max() <= CLOSE
    assert symlog(torch.tensor(-1.0)) == -torch.tensor(2.0).log()
    with pytest.raises(InputError, match="bins: expected at least 2, got 1"):
        TwoHot(1)


@pytest.mark.parametrize("rows", (10, 50_000, 10**7))
def test_the_rarest_reward_can_be_represented(rows):
    rare = torch.tensor((rows - 1) ** 0.5, dtype=torch.float64)  # one in so many, standardised
    head = TwoHot().reaching(float(rare))
    assert head.size == TwoHot().size
    for reward in (rare, -rare, rare / 10):
        assert head.mean(head._shares(reward).log()) == pytest.approx(float(reward), rel=CLOSE)


def test_a_limit_that_is_too_near_is_warned_of(caplog):
    assert TwoHot(limit=5).reaching(100) == TwoHot(limit=5) and not caplog.text
    assert TwoHot(limit=5).reaching(223) == TwoHot(limit=5)
    assert (
        "TwoHot(limit=5) cannot represent all rewards: those of the data need 5.41" in caplog.text
    )
    assert MSE().reaching(1e9) == MSE() and TwoHot().reaching(100) == TwoHot(limit=5)
