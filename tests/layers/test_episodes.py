"""What is not finite stays in its episode, by every mixer but those that document otherwise."""

import pytest
import torch
from cases import MIXERS, WIDTH

SPREADS = ("Mamba2", "Mamba3", "Mamba3 of rank 3", "Attention", "Attention to 1", "Attention to 5")
"""They weigh the steps of a sequence in matrix products, where 0 times infinity is no number."""


@pytest.mark.parametrize("value", (torch.nan, torch.inf))
@pytest.mark.parametrize("name", [name for name in MIXERS if name not in SPREADS])
def test_what_follows_a_reset_is_that_of_an_episode_alone(name, value, backend):
    mixer = MIXERS[name]()
    x = torch.randn(2, 12, WIDTH)
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[:, [5, 6]] = True
    x[0, 2] = value
    x.requires_grad_()
    y, _ = mixer(x, reset=reset)
    (found,) = torch.autograd.grad(y[:, 6:].sum(), x)
    fresh = x.detach()[:, 6:].requires_grad_()
    alone, _ = mixer(fresh)
    (truth,) = torch.autograd.grad(alone.sum(), fresh)
    assert torch.allclose(y[:, 6:], alone, atol=1e-5)
    assert torch.allclose(found[:, 6:], truth, atol=1e-4)
    assert found[1].isfinite().all() and y[1].isfinite().all()


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in SPREADS])
def test_a_gradient_crosses_no_reset(name, backend):
    mixer = MIXERS[name]()
    x = torch.randn(2, 12, WIDTH, requires_grad=True)
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[:, 6] = True
    y, _ = mixer(x, reset=reset)
    g = torch.ones_like(y)
    g[0, 8, 0] = torch.nan
    (found,) = torch.autograd.grad(y, x, g)
    before = x.detach()[:, :6].requires_grad_()
    (truth,) = torch.autograd.grad(mixer(before)[0].sum(), before)
    assert torch.allclose(found[:, :6], truth, atol=1e-4)
    assert found[1].isfinite().all()


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in SPREADS])
def test_a_step_forgets_a_state_that_is_not_finite(name):
    mixer = MIXERS[name]()
    x, reset = torch.randn(3, WIDTH), torch.tensor([True, False, True])
    spoilt = torch.utils._pytree.tree_map(lambda s: s + torch.nan, mixer.step(x)[1])
    y, _ = mixer.step(x, spoilt, reset)
    assert torch.allclose(y[reset], mixer.step(x)[0][reset], atol=1e-6)
