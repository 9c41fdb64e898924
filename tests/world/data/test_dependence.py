"""Which rows actions stand in, found out from what they do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.world.data.dependence import describe_dependence, explained_changes
from paratime.world.data.episode import Episode, Layout, make_episode

ORDERS = {-1: "taken", 1: "led_to"}


def decay(random, actions):
    place = np.zeros((len(actions) + 1, actions.shape[1]))
    for t, action in enumerate(actions):
        place[t + 1] = 0.9 * place[t] + action
    return place


def pictures(random, actions):
    """Return images of a dot that actions push about."""
    places = 12 + decay(random, actions).clip(-10, 8)
    frames = np.zeros((len(places), 24, 24, 3), np.uint8)
    for frame, place in zip(frames, places.astype(int), strict=True):
        frame[place[0] : place[0] + 4, place[1] : place[1] + 4] = 255
    return frames


def steered(random, actions):
    """Return a heading and places, in which an action counts by the direction of the heading."""
    heading = random.uniform(-1, 1, size=len(actions) + 1)
    moves = np.concatenate([[0.0], actions[:, 0] * heading[:-1]])
    return np.stack([heading, moves.cumsum()], axis=1)


WORLDS = {"numbers": decay, "pictures": pictures, "steered": steered}


def recorded(world, shift, discrete=False, seed=0, complete=True) -> list[Episode]:
    random, made = np.random.default_rng(seed), []
    for number in range(12):
        choice = random.integers(4, size=40)
        actions = random.uniform(-1, 1, size=(40, 2))
        if discrete:
            actions = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])[choice]
        observed = WORLDS[world](random, actions)
        kept = np.roll(choice if discrete else actions, shift, axis=0)
        rows = observed if complete else observed[:-1]
        made.append(make_episode(f"e{number}", rows, kept, np.zeros(40), False, complete=complete))
    return made


@pytest.mark.parametrize("world", WORLDS)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(st.sampled_from([-1, 0, 1]), st.booleans(), st.integers(0, 99), st.booleans())
def test_the_shift_of_actions_is_found(world, shift, discrete, seed, complete):
    episodes = recorded(world, shift, discrete, seed, complete)
    found = explained_changes(episodes, Layout.of(episodes))
    assert max(found, key=found.get) == shift and found[shift] > 0.3
    lines = describe_dependence(found)
    assert lines[0].startswith(f"explains {found[0]:.0%} of what changes next; the one before")
    assert len(lines) == 1 + (shift != 0)
    if shift:
        assert f"warning: the action {'before' if shift < 0 else 'after'} explains more" in lines[1]
        assert f"the source's order: {ORDERS[shift]}" in lines[1]


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shift", [0, 1])
def test_actions_of_a_policy_are_where_they_are(shift, noise):
    """An action that follows from its observation explains the change before, but is no cause."""
    random, made = np.random.default_rng(0), []
    for number in range(12):
        place, action = np.zeros((41, 2)), np.zeros((40, 2))
        place[0] = random.normal(size=2)
        for t in range(40):
            action[t] = -0.5 * place[t] + noise * random.normal(size=2)
            place[t + 1] = place[t] + action[t] + 0.1 * random.normal(size=2)
        kept = np.roll(action, shift, axis=0)
        made.append(make_episode(f"e{number}", place, kept, np.zeros(40), terminated=False))
    warned = len(describe_dependence(explained_changes(made, Layout.of(made)))) > 1
    assert warned == bool(shift) or not noise


def test_random_actions_of_no_effect_are_not_said_to_stand_elsewhere():
    for seed in range(20):
        random = np.random.default_rng(seed)
        made = [
            make_episode(
                f"{n}", random.normal(size=(22, 3)), random.normal(size=(21, 2)), [0.0] * 21, False
            )
            for n in range(12)
        ]
        assert len(describe_dependence(explained_changes(made, Layout.of(made)))) == 1


def test_too_few_steps_tell_nothing():
    episodes = recorded("numbers", 0)
    assert explained_changes(episodes[:0], Layout.of(episodes)) is None
    short = [make_episode("e", np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2), False)]
    assert explained_changes(short, Layout.of(short)) is None
    assert "too few steps" in describe_dependence(None)[0]
    still = [make_episode("e", np.zeros((301, 1)), np.ones((300, 1)), np.zeros(300), False)]
    assert describe_dependence(explained_changes(still, Layout.of(still)))[0].startswith("explains")
