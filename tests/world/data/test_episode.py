"""Episodes: how their rows are aligned, and which ones are refused."""

import numpy as np
import pytest
from world.trajectories import numbered

from paratime.errors import InputError
from paratime.world.data.episode import Layout, align_episode, make_episode


def rows(**options) -> list[dict[str, np.ndarray]]:
    made = numbered(**options)
    return [align_episode(episode, Layout.of(made)) for episode in made]


def test_a_row_holds_the_action_and_reward_that_led_to_it():
    for x in rows():
        assert np.array_equal(x["observation"][:, 0], x["prev_action"][:, 0])
        np.testing.assert_allclose(x["prev_reward"], 10 * x["prev_action"][:, 0], rtol=1e-6)
        assert x["is_first"].nonzero()[0].tolist() == [0]
        assert x["is_last"].nonzero()[0].tolist() == [len(x["is_last"]) - 1]
    ends = [x["is_terminal"][-1] for x in rows()]
    assert ends == [True, False, True, False, True]
    one_hot = rows(discrete=True)[2]
    assert np.array_equal(one_hot["prev_action"][1:].argmax(1), one_hot["observation"][1:, 0])
    assert not one_hot["prev_action"][0].any()


BAD = {
    "no action": (lambda: ([[1.0]], np.zeros((0, 1)), []), "at least one step, got none"),
    "rows": (lambda: ([[1.0]] * 3, [[0.0]] * 3, [0.0] * 3), "expected 4 rows for 3 actions, got 3"),
    "reward": (lambda: ([[1.0]] * 3, [[0.0]] * 2, [0.0]), "reward of e: expected 2 rows"),
    "nan": (lambda: ([[1.0], [np.nan]], [[0.0]], [0.0]), "finite numbers, got nan at step 1"),
    "ragged": (lambda: ([[1.0], [2.0, 3.0]], [[0.0]], [0.0]), "observation of e: expected numbers"),
    "choice": (lambda: ([[1.0], [2.0]], [-1], [0.0]), "choices from 0, got -1 at step 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_episode_is_refused_in_one_line(name):
    make, message = BAD[name]
    with pytest.raises(InputError) as error:
        make_episode("e", *make(), terminated=False)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_episodes_that_differ_are_refused():
    mixed = [*numbered((2,)), *numbered((2,), discrete=True)]
    with pytest.raises(InputError, match=r"action of e0: expected \(1,\) as in e0, got discrete"):
        Layout.of(mixed)
    choices = numbered((4,), discrete=True)
    assert Layout.of(choices, actions=5).action == 5
    with pytest.raises(InputError, match="choices below 1"):
        Layout.of(choices, actions=1)


@pytest.mark.parametrize("values", (1.7e9 + np.arange(20.0), 10**9 + np.arange(20)))
def test_changes_that_single_precision_loses_are_said(values):
    observation = np.stack([np.arange(20), values], axis=1)
    with pytest.warns(UserWarning, match=r"observation\[1\] changes by less than single precision"):
        make_episode("e", observation, np.zeros((19, 1)), np.zeros(19), False)
    make_episode("e", observation - observation[:1], np.zeros((19, 1)), np.zeros(19), False)
    make_episode("e", 1e9 * observation[:, :1], np.zeros((19, 1)), np.zeros(19), False)
    make_episode("e", np.full((20, 1), 1.7e9 + 1), np.zeros((19, 1)), np.zeros(19), False)
