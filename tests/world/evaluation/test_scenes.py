"""Episodes next to what is imagined of them, with bands."""

import pytest
import torch
from world.networks import latent_network, network, rows

from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation.scenes import make_scenes, sample_rollouts, sampling
from paratime.world.model.rollout import open_loop


def values(found) -> torch.Tensor:
    return torch.cat([found.observation, found.reward[..., None]], dim=-1)


def single() -> dict[str, torch.Tensor]:
    return padded([Whole(rows())[i] for i in range(3)])


def test_an_ensemble_is_drawn_as_mean_and_range():
    nets = [network().float(), network(use_action=False).float()]
    scenes = make_scenes(nets, single(), context=4, horizon=5)
    members = [
        values(open_loop(net, single(), context=4, horizon=5).prediction).float() for net in nets
    ]
    there = scenes.imagined[0].isfinite()
    middle = (sum(members) / 2).float()
    torch.testing.assert_close(scenes.imagined[0][there], middle[0][there])
    for band, bound in zip(scenes.band, (torch.minimum, torch.maximum), strict=True):
        torch.testing.assert_close(band[0][there], bound(*members).float()[0][there])
        assert torch.equal(band.isnan(), scenes.imagined.isnan())
    assert scenes.steps.tolist() == [5, 0, 5] and scenes.truth[1].isnan().all()
    assert scenes.seen.shape[1] == 4
    assert torch.equal(scenes.seen[2, :, :3], single()["observation"][2, :4])
    rewards = single()["prev_reward"]
    assert scenes.labels == ["observation[0]", "observation[1]", "observation[2]", "reward"]
    assert scenes.seen[2, 0, 3].isnan(), "nothing led to the first observation"
    assert torch.equal(scenes.seen[2, 1:, 3], rewards[2, 1:4])
    assert torch.equal(scenes.truth[2, :, 3], rewards[2, 4:9])


def test_samples_make_a_band_and_leave_the_random_numbers_alone():
    net = latent_network().float()
    before = torch.get_rng_state()
    scenes = make_scenes([net], single(), context=4, horizon=5, samples=40)
    assert torch.equal(before, torch.get_rng_state()) and not net.sampling and not net.training
    again = make_scenes([net], single(), context=4, horizon=5, samples=40)
    there = scenes.band[0].isfinite()
    assert torch.equal(scenes.band[0][there], again.band[0][there])
    samples = sample_rollouts(net, single(), context=4, horizon=5, samples=40)
    assert samples.shape == (40, 3, 5, 4) and (samples[0] != samples[1]).any()
    within = (samples >= scenes.band[0]) & (samples <= scenes.band[1])
    assert 0.85 <= within[:, there].double().mean() <= 0.95
    expected = values(open_loop(net, single(), context=4, horizon=5).prediction)
    assert torch.equal(scenes.imagined[0], expected[0].float())
    assert make_scenes([net], single(), context=4, horizon=5, samples=1).band is None
    with pytest.raises(RuntimeError), sampling(net):
        raise RuntimeError
    assert not net.sampling
