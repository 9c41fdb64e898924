"""Dreamer's archives, written and read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from world.trajectories import KINDS, aligned, echo, echoes, refused, same

from paratime.world.data.sources.base import Source
from paratime.world.data.sources.dreamer import Npz, write_npz


def archive(steps=3, **others):
    """Return the arrays of a file, whose first row of what led to it is not to be read."""
    led_to = np.arange(2 * steps + 2.0).reshape(-1, 2)
    row = np.arange(steps + 1)
    return {
        "observation": led_to,
        "action": np.where(row[:, None] == 0, np.nan, led_to),
        "reward": np.where(row == 0, np.nan, row),
        "is_first": row == 0,
        "is_last": row == steps,
        "is_terminal": np.zeros(steps + 1, bool),
    } | others


def save(path, **others):
    arrays = archive(**others)
    np.savez(path, **{key: x for key, x in arrays.items() if x is not None})
    return Npz(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(kind, tmp_path):
    write_npz(echoes(kind), tmp_path / "out")
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [
        "00000.npz",
        "00001.npz",
        "00002.npz",
    ]
    recording = Npz(str(tmp_path / "out")).read()
    same(recording.episodes, echoes(kind))
    assert recording.environment is None and recording.actions is None
    aligned(recording.episodes, "z" if kind == "dict" else "observation")


def test_the_layout_of_a_file(tmp_path):
    episode = echo("discrete", steps=2)
    write_npz([episode], tmp_path)
    with np.load(tmp_path / "00000.npz") as file:
        assert sorted(file.files) == sorted(archive())
        assert np.issubdtype(file["action"].dtype, np.integer)
        assert file["action"].tolist() == [0, *episode.action]
        assert file["reward"].tolist() == [0, *episode.reward]
        assert file["is_first"].tolist() == [True, False, False]
        assert file["is_last"].tolist() == file["is_terminal"].tolist() == [False, False, True]


def test_the_first_row_has_led_to_nothing(tmp_path):
    (episode,) = save(tmp_path / "a.npz").read().episodes
    aligned([episode])
    assert episode.reward.tolist() == [1, 2, 3] and not episode.terminated


def test_an_episode_that_is_cut_short_has_no_last_row(tmp_path):
    (episode,) = save(tmp_path / "a.npz", is_last=np.zeros(4, bool)).read().episodes
    assert len(episode) == 3 and not episode.terminated


def test_files_folders_and_patterns(tmp_path):
    (tmp_path / "deep").mkdir()
    for name, steps in (("b", 2), ("deep/c", 3), ("a", 4), (".hidden", 1)):
        np.savez(tmp_path / f"{name}.npz", **archive(steps))
    lengths = {"b.npz": [2], "deep": [3], "": [4, 2, 3], "*.npz": [4, 2], "**/*.npz": [4, 2, 3]}
    for path, expected in lengths.items():
        assert [len(x) for x in Npz(str(tmp_path / path)).read().episodes] == expected


def test_other_arrays_are_observations(tmp_path):
    image = np.zeros((4, 8, 8, 3), np.uint8)
    more = {"image": image, "obs": np.ones(4), "log_image": image, "discount": np.ones(4)}
    source = save(tmp_path / "a.npz", observation=None, **more)
    assert {*source.read().episodes[0].observation} == {"image", "obs"}
    whole = Npz(source.path, ignore=("image",)).read().episodes[0]
    assert {*whole.observation} == {"obs", "discount"}


def test_one_hot_actions(tmp_path):
    action = np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    action[0] = 0
    path = save(tmp_path / "a.npz", action=action).path
    recording = Npz(path).read()
    assert recording.episodes[0].action.tolist() == action[1:].tolist()
    assert recording.actions is None
    recording = Npz(path, discrete=True).read()
    assert recording.episodes[0].action.tolist() == [2, 1, 1] and recording.actions == 3
    save(tmp_path / "b.npz", action=np.array([0, 1, 1, 0]))
    assert Npz(str(tmp_path / "b.npz"), discrete=True).read().episodes[0].discrete


NOT_ONE_HOT = {
    "half": (np.full((4, 2), 0.5), r"a.npz: expected one-hot rows, got \[0.5, 0.5\] in row 1; ch"),
    "none": (np.zeros((4, 2)), r"a.npz: expected one-hot rows, got \[0.0, 0.0\] in row 1; choose"),
    "flat": (np.ones(4), r"a.npz: expected one-hot rows, got shape \(3,\); choose discrete=False"),
}


@pytest.mark.parametrize("name", NOT_ONE_HOT)
def test_actions_that_are_not_one_hot(name, tmp_path):
    action, pattern = NOT_ONE_HOT[name]
    path = save(tmp_path / "a.npz", action=action).path
    assert not Npz(path).read().episodes[0].discrete
    refused(pattern, Npz(path, discrete=True).read)


def test_one_hot_actions_of_several_widths(tmp_path):
    for name, width in (("a", 2), ("b", 3)):
        save(tmp_path / f"{name}.npz", action=np.eye(width)[[0, 1, 1, 0]])
    pattern = r"action of \S+b.npz: expected 2 choices as in files before, got 3; read"
    refused(pattern, Npz(str(tmp_path), discrete=True).read)


ROW = np.arange(4)
BAD = {
    "no action": ({"action": None}, r"action of \S+a.npz: expected an array .* only is_first, is"),
    "no flag": (
        {"is_last": None},
        r"is_last of \S+a.npz: expected an array of that name, got only",
    ),
    "no observation": ({"observation": None}, r"observation of \S+: expected at least one key"),
    "ragged": ({"reward": np.ones(3)}, r"reward of \S+: expected 4 rows as in action, got 3; all"),
    "a scalar": ({"obs": np.float32(1)}, r"obs of \S+: expected 4 rows as in action, got 0; all"),
    "nan": (
        {"observation": np.where(ROW == 2, np.nan, 1.0)},
        r"observation of \S+a.npz: expected finite numbers, got nan at step 2",
    ),
    "text": ({"observation": np.array([*"abcd"])}, r"observation of \S+a.npz: expected numbers"),
    "objects": ({"action": np.array([{}, 1, 2, 3])}, r"a.npz: expected numpy arrays of numbers"),
    "no step": ({"steps": 0}, r"action of \S+a.npz: expected .* two observations or more, got 1;"),
    "a middle": (
        {"is_first": ROW > 4},
        r"is_first of \S+: expected true in the first row alone, got False in row 0; write one",
    ),
    "two": ({"is_first": ROW % 2 == 0}, r"true in the first row alone, got True in row 2"),
    "early": (
        {"is_last": ROW == 1},
        r"is_last of \S+: .* in the last row alone, got True in row 1",
    ),
    "early end": ({"is_terminal": ROW == 2}, r"is_terminal of \S+: .*, got True in row 2; write"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_refused_in_one_line(name, tmp_path):
    others, pattern = BAD[name]
    refused(pattern, save(tmp_path / "a.npz", **others).read)


def test_files_that_are_no_archives(tmp_path):
    path = tmp_path / "a.npz"
    refused(r"path \S+: expected a file, folder or pattern, got none there", Npz(str(path)).read)
    refused(r"path \S+: expected files with suffix .npz, got none there", Npz(str(tmp_path)).read)
    save(path)
    whole = path.read_bytes()
    for part in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(part)
        refused(r"a.npz: expected a whole archive of numpy arrays, got", Npz(str(path)).read)
    path.write_bytes(whole.replace(b"NUMPY", b"NUMPI"))
    refused(r"a.npz: expected numpy arrays of numbers, got", Npz(str(path)).read)
    path.rename(path.with_suffix(".zip"))
    refused(r"a.zip: expected suffix .npz, got .zip", Npz(str(path.with_suffix(".zip"))).read)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    write_npz([echo()], tmp_path)

    def half(file, **arrays):
        file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OSError, match="full"):
        write_npz([echo(seed=1)], tmp_path)
    assert [x.name for x in tmp_path.iterdir()] == ["00000.npz"]
    same(Npz(str(tmp_path)).read().episodes, [echo()])


def test_other_episodes_are_not_mixed_with_new_ones(tmp_path):
    write_npz(echoes(), tmp_path)
    pattern = r"expected no other episodes there, got 00001.npz; choose an empty folder"
    refused(pattern, write_npz, [echo(seed=1)], tmp_path)
    same(Npz(str(tmp_path)).read().episodes, echoes())


@pytest.mark.parametrize("key", ("action", "is_first", "log_x", "discount", "file"))
def test_keys_that_would_not_be_read_are_not_written(key, tmp_path):
    episode = echo()
    episode.observation[key] = episode.observation["observation"]
    pattern = rf"observation of echo 0: expected keys .*, got '{key}'; rename it"
    refused(pattern, write_npz, [episode], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_source_is_injected():
    parser = ArgumentParser()
    parser.add_argument("--source", type=Source)
    given = [
        "--source=paratime.world.data.sources.dreamer.Npz",
        "--source.path=a",
        "--source.discrete=true",
    ]
    assert parser.instantiate_classes(parser.parse_args(given)).source == Npz("a", discrete=True)


def versions(folder, version, lengths, hot=False):
    """Write what the second and the third version of Dreamer store of the same episodes."""
    random = np.random.default_rng(0)
    for number, steps in enumerate(lengths):
        action = random.normal(size=(steps, 2))
        if hot:
            action = np.eye(3)[random.integers(3, size=steps)]
        nothing = np.zeros_like(action[:1])
        rows = [nothing, action] if version == 2 else [action, nothing]
        observation = np.concatenate([nothing + 9, action])
        arrays = archive(steps, action=np.concatenate(rows), observation=observation)
        np.savez(folder / f"{number}.npz", **arrays)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(st.sampled_from([2, 3]), st.booleans(), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_version_of_an_archive_is_found_out(version, hot, lengths):
    with TemporaryDirectory() as folder:
        versions(Path(folder), version, lengths, hot)
        recording = Npz(folder).read()
        aligned(recording.episodes)
        assert [len(x) for x in recording.episodes] == lengths
        for episode in recording.episodes:
            assert episode.reward.tolist() == [*range(1, len(episode) + 1)]
        where = "led to it: the first" if version == 2 else "taken at it: the last"
        assert f"{where} action of every file is zero" in recording.reading[0]
        named = Npz(folder, order="led_to" if version == 2 else "taken").read()
        same(named.episodes, recording.episodes)
        assert "as chosen" in named.reading[0]
        if hot:
            choices = Npz(folder, discrete=True).read()
            assert choices.actions == 3
            for one, other in zip(choices.episodes, recording.episodes, strict=True):
                assert one.action.tolist() == other.action.argmax(1).tolist()


@pytest.mark.parametrize(("value", "word"), ((0.0, "both"), (1.0, "neither")))
def test_an_order_that_cannot_be_told_is_said(value, word, tmp_path):
    recording = save(tmp_path / "a.npz", action=np.full((4, 2), value)).read()
    assert f"led to it: {word} of the first and last actions are zero" in recording.reading[0]
