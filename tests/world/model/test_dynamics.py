"""The world model: one pass, steps and imagination agree, and no episode reads another."""

from dataclasses import replace

import pytest
import torch
from world.networks import CLOSE, LENGTHS, network, packed, rows, whole

from paratime import Encoder, ParaGRU, ParaLSTM
from paratime.errors import InputError
from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.model.dynamics import DynamicsNetwork, visible_spans
from paratime.world.model.rollout import open_loop, swap_actions
from paratime.world.model.task import transition_mask

MIXERS = {"gru": ParaGRU, "lstm": ParaLSTM}


@pytest.mark.parametrize("name", MIXERS)
def test_packed_episodes_equal_separate_ones_with_their_gradients(name):
    net, (batch, order) = network(MIXERS[name]), packed()
    there = transition_mask(batch)
    together = net(batch)[0][there]
    alone = whole()
    apart = net(alone)[0]
    separate = torch.cat([apart[i, : LENGTHS[i]] for i in order])
    assert (together - separate).abs().max() <= CLOSE
    weight = torch.randn_like(separate)
    gradients = [
        torch.autograd.grad((x * weight).sum(), [*net.parameters()]) for x in (together, separate)
    ]
    for a, b in zip(*gradients, strict=True):
        assert (a - b).abs().max() <= 10 * CLOSE * (1 + b.abs().max())


def test_no_gradient_goes_across_a_reset_and_a_late_one_would_show():
    net, (batch, order) = network(), packed()
    begin = LENGTHS[order[0]] + 1
    assert batch["is_first"][0, begin]
    batch["observation"].requires_grad_()
    y = net(batch)[0][0, begin:]
    (gradient,) = torch.autograd.grad(y.square().sum(), batch["observation"])
    assert not gradient[0, :begin].any() and gradient[0, begin:].any()
    late = batch | {"is_first": batch["is_first"].roll(1, 1)}
    assert (net(late)[0][0, begin:] - y).abs().max() > 1e3 * CLOSE


@pytest.mark.parametrize("rollout", ("step", "solve"))
def test_a_rollout_from_a_first_row_knows_nothing_of_the_episode_before(rollout):
    net, (batch, order) = network(rollout=rollout), packed()
    begin = LENGTHS[order[0]] + 1
    batch["observation"].requires_grad_()
    found = open_loop(net, batch, context=begin + 1, horizon=3).prediction.observation
    (gradient,) = torch.autograd.grad(found.square().sum(), batch["observation"])
    assert not gradient[0, :begin].any() and gradient[0, begin].any()


def test_actions_that_never_occurred_are_read_in_their_units():
    moments = Moments.of(rows())
    moments = replace(moments, action_highest=[0.5, 1.0], action_lowest=[0.5, -1.0])
    net = DynamicsNetwork(Encoder(8, 1, mlp_size=8), TrajectorySpec(moments))
    assert torch.allclose(net.scaled_action(torch.tensor([[0.6, 0.5]])), torch.tensor([0.2, 0.5]))


@pytest.mark.parametrize("name", MIXERS)
def test_steps_and_hand_over_equal_one_pass(name):
    net, batch = network(MIXERS[name]), whole()
    one = {key: x[2:3, : LENGTHS[2] + 1] for key, x in batch.items()}
    expected = net(one)[0]
    state, found = None, []
    for t in range(LENGTHS[2]):
        seen, action = one["observation"][:, t], one["prev_action"][:, t + 1]
        prediction, state = net.step(seen, action, state)
        found.append(torch.cat([prediction.observation[0], prediction.reward]))
    size = net.size
    change = expected[0, :, :size] * net.change[1] + net.change[0]
    known = (one["observation"][0, :-1] + change).clamp(*net.range)
    reward = expected[0, :, size] * net.reward[1] + net.reward[0]
    assert (torch.stack(found) - torch.cat([known, reward[:, None]], 1)).abs().max() <= CLOSE
    half = {key: x[:, :8] for key, x in one.items()}, {key: x[:, 7:] for key, x in one.items()}
    first, state = net(half[0])
    second, state = net(half[1], state)
    assert (torch.cat([first, second], 1) - expected).abs().max() <= CLOSE


def test_imagination_feeds_itself():
    net, batch = network(), whole()
    actions, start = batch["prev_action"][:, 1:6], batch["observation"][:, 0]
    found, last = net.imagine(start, actions)
    observation, state = start, None
    for step in range(5):
        expected, state = net.step(observation, actions[:, step], state)
        observation = expected.observation
        for name in ("observation", "reward", "cont", "outside"):
            a, b = getattr(found, name)[:, step], getattr(expected, name)
            assert torch.equal(a, b) or (a - b).abs().max() <= CLOSE
    for a, b in zip(last[0], state[0], strict=True):
        assert (a - b).abs().max() <= CLOSE


def test_predictions_stay_in_the_range_of_the_data_and_say_so():
    net, batch = network(), whole()
    with torch.no_grad():
        net.head.bias[: net.size] = 100.0
    found = net.imagine(batch["observation"][:, 0], batch["prev_action"][:, 1:4])[0]
    assert (found.observation <= net.range[1]).all() and found.outside.all()


def test_without_actions_nothing_depends_on_them():
    net, batch = network(use_action=False), whole()
    other = batch | {"prev_action": torch.randn_like(batch["prev_action"])}
    assert torch.equal(net(batch)[0], net(other)[0])
    assert not torch.equal(network()(batch)[0], network()(other)[0])


def test_rollouts_begin_behind_their_context():
    net, batch = network(), whole()
    rollout = open_loop(net, batch, context=4, horizon=50)
    found, truth, start, there = (
        rollout.prediction,
        rollout.truth,
        rollout.start,
        rollout.valid,
    )
    assert torch.equal(start, batch["observation"][:, 3])
    assert torch.equal(truth, batch["observation"][:, 4:]) and there.sum(1).tolist() == [6, 0, 11]
    state = None
    for t in range(3):
        _, state = net.step(batch["observation"][:, t], batch["prev_action"][:, t + 1], state)
    expected = net.imagine(start, batch["prev_action"][:, 4:], state)[0].observation
    assert (found.observation - expected).abs().max() <= CLOSE
    other = swap_actions(batch)
    changed = open_loop(net, other, context=4, horizon=50).prediction
    assert not torch.equal(changed.observation, found.observation)


def test_images_are_refused_instead_of_left_out():
    about = TrajectorySpec(Moments.of(rows()), {"a": [3], "eye": [8, 8, 3]})
    with pytest.raises(InputError, match="observation: expected vectors, got images: eye"):
        DynamicsNetwork(Encoder(8, 1), about)


@pytest.mark.parametrize("mixer", (ParaGRU, ParaLSTM))
@pytest.mark.parametrize("context", (1, 4))
def test_a_rollout_in_one_solve_equals_stepping(mixer, context):
    net, batch = network(mixer, rollout="solve"), whole()
    state = None if context == 1 else net({k: x[:, :context] for k, x in batch.items()})[1]
    start, actions = batch["observation"][:, context - 1], batch["prev_action"][:, context:9]
    found, last = net.imagine(start, actions, state)
    observation, seen = start, net._of_observation(start)
    for step in range(actions.shape[1]):
        y, state = net.encoder.step(seen + net._of_action(actions[:, step]), state)
        change, reward, _ = net.parts(net.head(y))
        observation = observation + change * net.change[1] + net.change[0]
        assert (found.observation[:, step] - observation.clamp(*net.range)).abs().max() <= CLOSE
        expected = reward[:, 0] * net.reward[1] + net.reward[0]
        assert (found.reward[:, step] - expected).abs().max() <= CLOSE
        seen = net.hidden
    for a, b in zip(last[0], state[0], strict=True):
        assert (a - b).abs().max() <= CLOSE


def test_observations_are_hidden_in_training_alone_and_in_spans():
    net, batch = network(rollout="solve"), whole()
    assert torch.equal(net(batch)[0], net(batch)[0])
    net.train()
    assert not torch.equal(net(batch)[0], net(batch)[0])
    first = torch.zeros(200, 300, dtype=torch.bool)
    first[:, 0] = first[:, 150] = True
    spans = visible_spans(first)
    assert spans[:, 0].all() and spans[:, 150].all()
    assert 0.08 < spans.double().mean() < 0.18
    begins = (spans[:, :-1] & ~spans[:, 1:]).sum()
    assert 15 < (~spans).sum() / begins < 30
