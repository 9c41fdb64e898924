"""The latent model: one pass and steps agree, episodes stay apart, and divergences are true."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.distributions import Independent, Normal, OneHotCategorical, kl_divergence
from world.networks import (
    CLOSE,
    LATENTS,
    LENGTHS,
    SPEC,
    double,
    latent_network,
    packed,
    whole,
)

from paratime import Encoder
from paratime.errors import InputError
from paratime.testing import check_apart
from paratime.world.model.rssm import Categorical, Gaussian
from paratime.world.model.task import WorldTask

POSTERIORS = {"decoupled": False, "recurrent": True}
FAMILIES = Categorical(3, 4, unimix=0.0), Categorical(3, 4), Gaussian(5)


@pytest.mark.parametrize("recurrent", POSTERIORS.values(), ids=POSTERIORS)
@pytest.mark.parametrize("latent", LATENTS)
def test_packed_episodes_equal_separate_ones(latent, recurrent):
    net, (batch, order) = latent_network(latent, recurrent), packed()
    together, apart = net(batch)[0], net(whole())[0]
    for name in ("posterior", "prior", "decoded"):
        separate = torch.cat([getattr(apart, name)[i, : LENGTHS[i] + 1] for i in order])
        assert (getattr(together, name)[0, : len(separate)] - separate).abs().max() <= 10 * CLOSE


def test_one_pass_equals_the_loop():
    net, batch = latent_network(), whole()
    expected, (_, features) = net(batch)
    found = net._one_by_one(batch, None)
    assert (found[1] - expected.posterior).abs().max() <= CLOSE
    decoded = net.decoder(torch.cat([found[0], found[2]], dim=-1))
    assert (decoded - expected.decoded).abs().max() <= CLOSE
    assert (found[0][:, -1] - features).abs().max() <= CLOSE


@pytest.mark.parametrize("recurrent", POSTERIORS.values(), ids=POSTERIORS)
@pytest.mark.parametrize("cut", (1, 2, 9))
def test_a_state_is_handed_over(cut, recurrent):
    net = latent_network(recurrent=recurrent)
    one = {key: x[2:3, : LENGTHS[2] + 1] for key, x in whole().items()}
    expected, (_, features) = net(one)
    first, state = net({key: x[:, :cut] for key, x in one.items()})
    second, state = net({key: x[:, cut - 1 :] for key, x in one.items()}, state)
    found = torch.cat([first.decoded, second.decoded[:, 1:]], dim=1)
    assert (found - expected.decoded).abs().max() <= CLOSE
    assert (state[1] - features).abs().max() <= CLOSE


@pytest.mark.parametrize("recurrent", POSTERIORS.values(), ids=POSTERIORS)
@pytest.mark.parametrize("rows", (1, 4))
def test_a_state_shares_no_memory(rows, recurrent):
    net, state = latent_network(recurrent=recurrent), None
    batch = {key: x[:, :rows] for key, x in whole().items()}
    given = tuple(batch.values())
    for _ in range(2):
        before = state
        found, state = net(batch, before)
        check_apart(state, (*vars(found).values(), *given, before), "forward")
    seen, actions = batch["observation"][:, -1], batch["prev_action"]
    for start in (None, state):
        found, after = net.imagine(seen, actions, start)
        values = found.observation, found.reward, found.cont, found.outside
        check_apart(after, (*values, seen, actions, start), "imagine")


@pytest.mark.parametrize("recurrent", POSTERIORS.values(), ids=POSTERIORS)
def test_imagination_is_the_loop_over_the_prior(recurrent):
    net, batch = latent_network(recurrent=recurrent), whole()
    _, state = net({key: x[:, :4] for key, x in batch.items()})
    start, actions = batch["observation"][:, 3], batch["prev_action"][:, 4:7]
    found, _ = net.imagine(start, actions, state)
    last, features = state
    seen = net.scaled(start)
    z = net.latent.mean(net.posterior(torch.cat([seen, features], -1) if recurrent else seen))
    for step in range(3):
        x = net.project(torch.cat([z, net.scaled_action(actions[:, step])], dim=-1))
        features, last = net.encoder.step(x, last)
        z = net.latent.mean(net.prior(features))
        decoded = net.decoder(torch.cat([features, z], dim=-1))
        observation = decoded[:, : net.size] * net.observation[1] + net.observation[0]
        assert (found.observation[:, step] - observation.clamp(*net.range)).abs().max() <= CLOSE
        reward = decoded[:, net.size] * net.reward[1] + net.reward[0]
        assert (found.reward[:, step] - reward).abs().max() <= CLOSE


def test_no_gradient_goes_across_a_reset():
    net, (batch, order) = latent_network(), packed()
    begin = LENGTHS[order[0]] + 1
    batch["observation"].requires_grad_()
    batch["prev_action"].requires_grad_()
    net.train()
    y = net(batch)[0].decoded[0, begin:].square().sum()
    for gradient in torch.autograd.grad(y, [batch["observation"], batch["prev_action"]]):
        assert not gradient[0, :begin].any() and gradient[0, begin:].any()


@pytest.mark.parametrize("scale", (1, 1e2, 1e4))
@pytest.mark.parametrize(
    "latent", (Categorical(3, 4, 0.0), Categorical(3, 4), Gaussian(5)), ids=str
)
def test_divergences_of_distant_distributions_are_finite(latent, scale):
    p, q = (scale * torch.randn(2, 6, latent.raw_size)).requires_grad_().unbind()
    divergence = latent.kl(p, q)
    assert divergence.isfinite().all() and (divergence >= -CLOSE).all()
    for gradient in torch.autograd.grad(divergence.sum(), [p, q]):
        assert gradient.isfinite().all()


def test_divergences_are_those_of_torch():
    p, q = torch.randn(2, 6, 12).double()
    latent = Categorical(3, 4, unimix=0.0)
    first, second = (OneHotCategorical(logits=x.unflatten(-1, (3, 4))) for x in (p, q))
    assert torch.allclose(latent.kl(p, q), kl_divergence(first, second).sum(-1))
    mixed = Categorical(3, 4, unimix=1.0)
    assert mixed.kl(p, q).abs().max() <= CLOSE
    p, q = torch.randn(2, 6, 10).double()

    def normal(x: Tensor) -> Independent:
        return Independent(Normal(x[:, :5], nn.functional.softplus(x[:, 5:]) + 0.1), 1)

    assert torch.allclose(Gaussian(5).kl(p, q), kl_divergence(normal(p), normal(q)))


@pytest.mark.parametrize("name", LATENTS)
def test_samples_have_gradients_and_the_right_frequencies(name):
    latent = LATENTS[name]
    raw = torch.randn(1, latent.raw_size).double().requires_grad_()
    drawn = latent.sample(raw.expand(20_000, -1))
    assert drawn.shape == (20_000, latent.size)
    (gradient,) = torch.autograd.grad(drawn[:, 0].sum(), raw)
    assert gradient.abs().max() > 0
    if name == "classes":
        assert torch.allclose(drawn.unflatten(-1, (3, 4)).sum(-1), torch.ones(1).double())
    assert (drawn.mean(0) - latent.mean(raw)[0]).abs().max() < 0.05


def task(**options) -> WorldTask:
    torch.manual_seed(0)
    made = WorldTask(Encoder(8, 1, mlp_size=8), SPEC, Categorical(3, 4), **options)
    return made.double()


def test_the_loss_counts_free_nats_once_a_row_and_no_padding():
    batch = whole()
    loss, parts, _ = task(free_nats=50.0).losses(batch)
    assert parts["kl_free"] == 1
    decoded = parts["seen"] + parts["reward"] + parts["cont"]
    assert (loss - decoded).item() == pytest.approx(50 * 1.1)
    other = {k: x.clone() for k, x in batch.items()}
    other["observation"][~batch["mask"]] = 9.0
    same = task().eval()
    assert same.losses(other)[0].item() == pytest.approx(same.losses(batch)[0].item())
    lone = double({k: x[1:2, :4] for k, x in batch.items()})
    first = same.losses(lone)[1]["reward"]
    lone["prev_reward"][:, 0] = 99.0
    assert same.losses(lone)[1]["reward"] == first, "no reward leads to a first row"


def test_a_latent_that_is_none_is_refused():
    with pytest.raises(InputError, match="groups: expected at least 1, got 0"):
        Categorical(groups=0)
    unspecified = WorldTask(Encoder(8, 1))
    unspecified.trainer = Trainer(barebones=True, accelerator="cpu")
    with pytest.raises(InputError, match="spec: expected a TrajectorySpec, got NoneType; use data"):
        unspecified.configure_model()
