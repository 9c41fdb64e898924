"""Every source gives each reward and end to the action that led to it, wherever the last row is."""

from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world.trajectories import refused

from paratime.world.commands.convert import write_recording
from paratime.world.data.sources.base import Recording
from paratime.world.data.sources.d4rl import D4RL
from paratime.world.data.sources.dreamer import Npz, write_npz
from paratime.world.data.sources.readings import terminations
from paratime.world.data.sources.table import LeRobot, Table

ENDS = {"terminated": (True, False), "truncated": (False, True)}
COLUMNS = {"observation": ("x",), "action": ("u",), "terminal": "done"}


def steps_of(lengths, ends):
    """Return rows of steps, in which all numbers differ; what follows the last is in ``next``."""
    count, frames = 0.0, []
    for number, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        place = count + np.arange(length + 1)
        last = np.arange(length) == length - 1
        rows = {"episode": number, "step": np.arange(length), "x": place[:-1], "next": place[1:]}
        rows |= {"u": place[:-1] + 0.25, "reward": place[:-1] + 0.5}
        flags = {"done": last & ENDS[end][0], "truncated": last & ENDS[end][1]}
        frames.append(pd.DataFrame(rows | flags))
        count += length + 1
    return pd.concat(frames, ignore_index=True)


def with_last_rows(frame, order):
    """Return the same with one more row an episode, which no action follows, or precedes."""
    parts = []
    for _, part in frame.groupby("episode"):
        last = part.iloc[-1:].assign(step=len(part), x=part.next.iloc[-1], u=np.nan, reward=np.nan)
        if order == "taken":
            part = pd.concat([part, last.assign(done=False, truncated=False)])
        else:
            part = pd.concat([part, last])
            columns = ["u", "reward", "done", "truncated"]
            part[columns] = part[columns].shift(1)
            part[columns[2:]] = part[columns[2:]].fillna(0).astype(bool)
        parts.append(part)
    return pd.concat(parts)


def save_csv(folder, frame, **options):
    path = f"{folder}/a.csv"
    frame.to_csv(path, index=False)
    return Table(path, **COLUMNS | options)


def save_lerobot(folder, frame):
    pytest.importorskip("pyarrow")
    names = {"x": "observation.state", "u": "action", "episode": "episode_index"}
    names |= {"step": "frame_index", "reward": "next.reward", "truncated": "next.truncated"}
    frame = frame.rename(columns=names)
    frame["next.done"] = frame.done | frame["next.truncated"]
    frame.to_parquet(f"{folder}/a.parquet")
    return LeRobot(f"{folder}/a.parquet")


def save_d4rl(folder, frame, following):
    h5py = pytest.importorskip("h5py")
    with h5py.File(f"{folder}/a.hdf5", "w") as file:
        file["observations"], file["actions"] = frame[["x"]], frame[["u"]]
        file["rewards"] = frame.reward
        file["terminals"], file["timeouts"] = frame.done, frame.truncated
        if following:
            file["next_observations"] = frame[["next"]]
    return D4RL(f"{folder}/a.hdf5")


LAYOUTS = {
    "steps": lambda folder, frame: save_csv(folder, frame),
    "next": lambda folder, frame: save_csv(folder, frame, next_observation=("next",)),
    "alone": lambda folder, frame: save_csv(folder, with_last_rows(frame, "taken")),
    "led to": lambda folder, frame: save_csv(
        folder, with_last_rows(frame, "led_to"), order="led_to"
    ),
    "lerobot": save_lerobot,
    "d4rl": lambda folder, frame: save_d4rl(folder, frame, False),
    "d4rl next": lambda folder, frame: save_d4rl(folder, frame, True),
}
KNOWN = {"next", "alone", "led to", "d4rl next"}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([*ENDS])), min_size=1, max_size=4),
)
def test_no_reward_is_lost_and_no_truncation_is_a_termination(layout, shape):
    lengths, ends = zip(*shape, strict=True)
    frame = steps_of(lengths, ends)
    with TemporaryDirectory() as folder:
        recording = LAYOUTS[layout](folder, frame).read()
    assert [len(x) for x in recording.episodes] == [*lengths]
    assert [x.terminated for x in recording.episodes] == [x == "terminated" for x in ends]
    for episode, (_, rows) in zip(recording.episodes, frame.groupby("episode"), strict=True):
        assert episode.complete == (layout in KNOWN)
        last = rows.next.iloc[-1] if episode.complete else rows.x.iloc[-1]
        assert episode.observation["observation"][:, 0].tolist() == [*rows.x, last]
        assert episode.action[:, 0].tolist() == [*rows.u]
        assert episode.reward.tolist() == [*rows.reward]
    first, second, third = recording.reading
    assert first.startswith("a row is an observation and the action")
    assert ("absent" in second) == (layout not in KNOWN)
    assert f"{sum(x == 'terminated' for x in ends)} of {len(ends)} episodes" in third


def test_both_flags_are_a_truncation_unless_truncations_stand_alone():
    both, end, cut = (True, True), (True, False), (False, True)
    assert terminations([both, end]) == [False, True], "as done, which marks any end"
    assert terminations([both, end, cut]) == [True, True, False], "as terminated"


def test_a_last_row_is_an_observation_where_its_table_says_so(tmp_path):
    frame = steps_of((3, 2), ("truncated", "truncated"))
    alone = with_last_rows(frame, "taken").fillna(0)
    assert [len(x) for x in save_csv(tmp_path, alone).read().episodes] == [3, 2], "by the flags"
    plain = alone.assign(done=False, truncated=False)
    assert [len(x) for x in save_csv(tmp_path, plain).read().episodes] == [4, 3]
    source = save_csv(tmp_path, plain, last_row="observation")
    assert [len(x) for x in source.read().episodes] == [3, 2]


MISTAKES = {
    "next": (
        {"next_observation": ("x", "next")},
        r"next_observation: expected 1 columns, .* got 2",
    ),
    "order": (
        {"next_observation": ("next",), "order": "led_to"},
        r"next_observation: expected actions that were taken, got order led_to; leave one",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_options_that_contradict_are_refused(name, tmp_path):
    options, pattern = MISTAKES[name]
    source = save_csv(tmp_path, steps_of((2,), ("truncated",)), **options)
    refused(pattern, source.read)


def test_layouts_that_need_the_last_observation_leave_an_action_out(tmp_path, capsys):
    frame = steps_of((3, 1), ("truncated", "terminated"))
    recording = save_csv(tmp_path, frame).read()
    refused(
        r"last observation of .*: expected it, .* got none; use complete_part",
        write_npz,
        recording.episodes,
        tmp_path / "refused",
    )
    write_recording(recording, str(tmp_path / "out"), "npz")
    assert "the last action of 2 episodes, with its reward and its end" in capsys.readouterr().out
    (episode,) = Npz(str(tmp_path / "out")).read().episodes
    assert len(episode) == 2 and not episode.terminated
    write_recording(Recording([episode]), str(tmp_path / "again"), "npz")
    assert not capsys.readouterr().out
