"""Minari's files, written and read."""

import io
import json
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from jsonargparse import ArgumentParser
from world.trajectories import KINDS, aligned, echo, echoes, flat, refused, same

from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.d4rl import D4RL
from paratime.world.data.sources.minari import Minari, write_minari

h5py = pytest.importorskip("h5py")


def parts(steps=3, **others):
    """Return the arrays of an episode in Minari's layout; None leaves one out."""
    action = np.arange(2.0 * steps).reshape(-1, 2)
    return {
        "observations": np.concatenate([np.full((1, 2), 9.0), action]),
        "actions": action,
        "rewards": np.arange(1.0 * steps),
        "terminations": np.arange(steps) == steps - 1,
        "truncations": np.zeros(steps, bool),
    } | others


def save(path, groups, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, arrays in groups.items():
            group = file.create_group(name)
            for key, x in arrays.items():
                if x is not None:
                    group[key] = x
    return Minari(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(kind, tmp_path):
    write_minari(Recording(echoes(kind)), tmp_path / "echo-v0")
    recording = Minari(str(tmp_path)).read()
    same(recording.episodes, echoes(kind))
    assert recording.environment is None
    assert recording.actions == (3 if kind == "discrete" else None)
    aligned(recording.episodes, "z" if kind == "dict" else "observation")


def test_what_is_known_of_a_recording_is_kept(tmp_path):
    seeded = replace(echo("discrete"), info={"seed": 7})
    recording = Recording([seeded, echo("discrete", seed=1)], "CartPole-v1", 4)
    write_minari(recording, tmp_path / "echo-v0")
    data = tmp_path / "echo-v0" / "data"
    for _ in range(2):
        found = Minari(str(data / "main_data.hdf5")).read()
        assert (found.environment, found.actions) == ("CartPole-v1", 4)
        assert [x.info for x in found.episodes] == [{"seed": 7}, {}]
        (data / "metadata.json").unlink(missing_ok=True)  # the file itself says it too


def test_observations_in_groups_within_groups(tmp_path):
    episode = echo("dict")
    a, z = episode.observation.values()
    deep = replace(episode, observation={"_index_0": a, "arm/left": z, "arm/right/v": a, "z": z})
    write_minari(Recording([deep]), tmp_path / "echo-v0")
    same(Minari(str(tmp_path)).read().episodes, [deep])
    with h5py.File(tmp_path / "echo-v0" / "data" / "main_data.hdf5") as file:
        assert file["episode_0/observations/arm/right/v"].shape == a.shape


def test_images_in_jpeg(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = (
        np.full((4, 32, 40, 3), 64, np.uint8) * np.arange(4, dtype=np.uint8)[:, None, None, None]
    )
    files = []
    for picture in pictures:
        image.fromarray(picture).save(file := io.BytesIO(), format="JPEG")
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    length = max(map(len, files))
    padded = np.stack([np.pad(x, (0, length - len(x))) for x in files])
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for number, rows in enumerate((files, padded)):
            group = file.create_group(f"episode_{number}")
            kind = h5py.vlen_dtype(np.uint8) if rows is files else None
            group.create_dataset("observations", data=rows, dtype=kind)
            for key, x in parts(observations=None).items():
                if x is not None:
                    group[key] = x
    for episode in Minari(str(tmp_path / "a.hdf5")).read().episodes:
        found = episode.observation["observation"]
        assert found.dtype == np.uint8 and found.shape == pictures.shape
        assert np.abs(found.astype(int) - pictures).max() < 8


def test_episodes_are_in_the_order_of_their_numbers(tmp_path):
    numbers = (10, 2, 0, 11, 1)
    groups = {f"episode_{n}": parts(steps=n + 1) for n in numbers} | {"other": {}}
    episodes = save(tmp_path / "a.hdf5", groups).read().episodes
    assert [len(x) - 1 for x in episodes] == sorted(numbers)
    assert episodes[2].name == f"episode_2 of {tmp_path / 'a.hdf5'}"


def test_an_episode_has_terminated_if_it_says_so(tmp_path):
    short = parts(terminations=np.zeros(3, bool), truncations=None)
    source = save(tmp_path / "a.hdf5", {"episode_0": parts(), "episode_1": short})
    recording = source.read()
    assert [x.terminated for x in recording.episodes] == [True, False]
    aligned(recording.episodes)


def test_metadata_in_the_file_or_beside_it(tmp_path):
    space = json.dumps({"type": "Discrete", "n": 2, "start": 1})
    groups = {"episode_0": parts(actions=np.array([1, 2, 1]))}
    source = save(tmp_path / "a.hdf5", groups, env_spec='{"id": "Old-v0"}', action_space=space)
    recording = source.read()
    assert (recording.environment, recording.actions) == ("Old-v0", 2)
    assert recording.episodes[0].action.tolist() == [0, 1, 0]
    about = {"env_spec": '{"id": "New-v0"}', "action_space": '{"type": "Box"}'}
    (tmp_path / "metadata.json").write_text(json.dumps(about))
    recording = source.read()
    assert (recording.environment, recording.actions) == ("New-v0", None)
    (tmp_path / "metadata.json").write_text('{"env_spec": "{"}')
    refused(r"env_spec of \S+a.hdf5: expected a JSON object as text, got '{'; mend", source.read)
    (tmp_path / "metadata.json").write_text("{")
    refused(r"metadata.json: expected a JSON object, got Expecting .*; mend or del", source.read)


BAD = {
    "missing": (
        {"rewards": None},
        r"rewards of episode_0 of \S+: expected .*, got only actions, o",
    ),
    "dict action": (
        {"actions/a": np.ones(3), "actions/b": np.ones(3), "actions": None},
        r"actions of episode_0 of \S+: expected one array, got the parts a, b; put them side",
    ),
    "ragged": ({"rewards": np.ones(2)}, r"reward of episode_0 of \S+: expected 3 rows for 3 act"),
    "short": (
        {"observations": np.ones((3, 2))},
        r"observation of episode_0 of \S+: expected 4 rows for 3 actions, got 3; T actions",
    ),
    "flags": (
        {"terminations": np.ones(2, bool)},
        r"terminations of episode_0 of \S+: expected shape \(3,\), one an action, got \(2,\)",
    ),
    "early": (
        {"terminations": np.array([False, True, False])},
        r"terminations of episode_0 of \S+: expected true at the last .*, got true at step 1 of 3",
    ),
    "nan": (
        {"observations": np.array([0, 1, np.nan, 3])},
        r"observation of episode_0 of \S+: expected finite numbers, got nan at step 2; mend",
    ),
    "no step": ({"steps": 0}, r"actions of episode_0 of \S+: expected at least one step, got none"),
    "text": ({"observations": [b"a"] * 4}, r"observation of episode_0 of \S+: expected numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_episodes_are_refused_in_one_line(name, tmp_path):
    others, pattern = BAD[name]
    refused(pattern, save(tmp_path / "a.hdf5", {"episode_0": parts(**others)}).read)


@pytest.mark.parametrize("source", (Minari, D4RL))
def test_files_that_are_no_hdf5(source, tmp_path):
    path = tmp_path / "main_data.hdf5"
    refused(r"path \S+: expected an HDF5 file, got none there; paths are", source(str(path)).read)
    rows = {"episode_0": parts(steps=10_000)} | {"x": flat()}
    save(path, rows)
    whole = path.read_bytes()
    for part in (b"", b"text", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(part)
        pattern = r"main_data.hdf5: expected a whole HDF5 file, got .*; fetch or write it again"
        refused(pattern, source(str(path)).read)


def test_folders(tmp_path):
    pattern = r"path \S+: expected one main_data.hdf5 in it or below, got none; name its folder"
    refused(pattern, Minari(str(tmp_path)).read)
    (tmp_path / "root" / ".hidden").mkdir(parents=True)
    (tmp_path / "root" / ".hidden" / "main_data.hdf5").touch()
    for name in ("a-v0", "b-v0"):
        write_minari(Recording(echoes()), tmp_path / "root" / name)
        same(Minari(str(tmp_path / "root" / name)).read().episodes, echoes())
        same(Minari(str(tmp_path / "root" / name / "data")).read().episodes, echoes())
    pattern = r"got a-v0/data/main_data.hdf5, b-v0/data/main_data.hdf5; name its folder"
    refused(pattern, Minari(str(tmp_path / "root")).read)


def test_a_file_without_episodes(tmp_path):
    source = save(tmp_path / "a.hdf5", {"other": {}})
    refused(r"a.hdf5: expected groups episode_0 and so on, got only other; check", source.read)


def test_as_many_episodes_as_the_metadata_says(tmp_path):
    source = save(tmp_path / "a.hdf5", {"episode_0": parts()}, total_episodes=3)
    refused(r"a\.hdf5: expected 3 episodes as the metadata says, got 1; fetch", source.read)
    twice = save(tmp_path / "b.hdf5", {"episode_1": parts(), "episode_01": parts()})
    refused(r"b\.hdf5: expected 1 episodes as the metadata says, got 2", twice.read)


def test_an_episode_in_a_file_that_is_not_there(tmp_path):
    source = save(tmp_path / "a.hdf5", {"episode_0": parts()})
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["episode_1"] = h5py.ExternalLink("more.hdf5", "episode_1")
    refused(r"a.hdf5: expected a whole HDF5 file, got .*; fetch or write it again", source.read)


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    pattern = r"h5py: expected the package h5py, got none installed; pip install h5py"
    refused(pattern, Minari(str(tmp_path / "a.hdf5")).read)
    refused(pattern, write_minari, Recording(echoes()), tmp_path / "echo-v0")


def test_recordings_that_are_not_written(tmp_path):
    recording = Recording(echoes(), "no id at all")
    refused(
        r"folder \S+echo: expected a name .* version, got 'echo'; write it like",
        write_minari,
        recording,
        tmp_path / "echo",
    )
    refused(
        r"environment: expected an id as of Gymnasium, got 'no id at all'",
        write_minari,
        recording,
        tmp_path / "echo-v0",
    )
    refused(r"episodes: expected at least one", write_minari, Recording([]), tmp_path / "echo-v0")
    assert not [*tmp_path.iterdir()]


def test_a_failure_leaves_the_old_files(tmp_path):
    root = tmp_path / "echo-v0"
    write_minari(Recording([echo()], "Old-v0"), root)
    broken = replace(echo(), info={"seed": object()})
    with pytest.raises(TypeError):
        write_minari(Recording([echo(seed=1), broken], "New-v0"), root)
    assert sorted(x.name for x in (root / "data").iterdir()) == ["main_data.hdf5", "metadata.json"]
    recording = Minari(str(root)).read()
    assert recording.environment == "Old-v0"
    same(recording.episodes, [echo()])


@pytest.mark.parametrize("kind", KINDS)
def test_minari_reads_what_is_written(kind, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    environment = "CartPole-v1"
    write_minari(Recording(echoes(kind), environment), tmp_path / "echo-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert [*minari.list_local_datasets()] == ["echo-v0"]
    data = minari.load_dataset("echo-v0")
    assert data.total_episodes == 3 and data.total_steps == 10
    assert (data.id, data.spec.dataset_name) == ("echo-v0", "echo")
    assert data.recover_environment().spec.id == environment
    discrete = isinstance(data.action_space, gymnasium.spaces.Discrete)
    assert discrete == (kind == "discrete")
    for found, episode in zip(data.iterate_episodes(), echoes(kind), strict=True):
        observed = found.observations
        observed = observed if isinstance(observed, dict) else {"observation": observed}
        assert {*observed} == {*episode.observation}
        for key, x in episode.observation.items():
            np.testing.assert_array_equal(observed[key], x)
        np.testing.assert_array_equal(found.actions, episode.action)
        np.testing.assert_array_equal(found.rewards, episode.reward)
        assert found.terminations.tolist() == [False] * (len(episode) - 1) + [episode.terminated]
        assert (found.terminations | found.truncations).argmax() == len(episode) - 1


@pytest.mark.parametrize("kind", ("vector", "discrete", "dict", "image"))
def test_what_minari_writes_is_read(kind, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    spaces = gymnasium.spaces
    box, image = spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(0, 255, (32, 33, 3), np.uint8)
    observed = {
        "vector": box,
        "discrete": spaces.Box(-np.inf, np.inf, (1,)),
        "dict": spaces.Dict({"z": box, "a": spaces.Box(-np.inf, np.inf, (3,))}),
        "image": spaces.Dict({"observation": box, "image": image}),
    }
    buffers = []
    for episode in echoes(kind):
        parts, ended = episode.observation, np.arange(len(episode)) == len(episode) - 1
        buffers.append(
            EpisodeBuffer(
                seed=3,
                observations=parts if kind in ("dict", "image") else parts["observation"],
                actions=episode.action,
                rewards=episode.reward.tolist(),
                terminations=ended & episode.terminated,
                truncations=ended & (not episode.terminated),
            )
        )
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.warns(UserWarning):  # of an author who is not named
        minari.create_dataset_from_buffers(
            "echo/random-v0",
            buffers,
            env="CartPole-v1",
            observation_space=observed[kind],
            action_space=spaces.Discrete(4) if kind == "discrete" else box,
            data_format="hdf5",
        )
    recording = Minari(str(tmp_path / "echo")).read()
    assert recording.environment == "CartPole-v1" and recording.episodes[0].info == {"seed": 3}
    assert recording.actions == (4 if kind == "discrete" else None)
    for episode, expected in zip(recording.episodes, echoes(kind), strict=True):
        found, known = episode.observation, expected.observation
        assert {key: x.shape for key, x in found.items()} == {k: x.shape for k, x in known.items()}
        assert "image" not in found or found["image"].dtype == np.uint8
        np.testing.assert_array_equal(episode.action, expected.action)
        assert episode.terminated == expected.terminated


def test_sources_are_injected():
    parser = ArgumentParser()
    parser.add_argument("--source", type=Source)
    for kind in (Minari, D4RL):
        given = [f"--source={kind.__module__}.{kind.__name__}", "--source.path=a"]
        assert parser.instantiate_classes(parser.parse_args(given)).source == kind("a")


def test_spaces_of_a_file_are_read_as_what_they_are(tmp_path):
    """Choices from 1, several at once, and observed classes, as the spaces of the file say."""
    groups = {"episode_0": parts(actions=np.array([[1, 2], [0, 0], [1, 1]]))}
    spaces = {
        "action_space": {"type": "MultiDiscrete", "dtype": "int64", "nvec": [2, 3]},
        "observation_space": {"type": "Discrete", "dtype": "int64", "n": 4, "start": 1},
    }
    groups["episode_0"]["observations"] = np.array([1, 4, 2, 2])
    given = {key: json.dumps(x) for key, x in spaces.items()}
    (episode,) = save(tmp_path / "a.hdf5", groups, **given).read().episodes
    assert episode.action.tolist() == [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0]]
    assert episode.observation["observation"].argmax(1).tolist() == [0, 3, 1, 1]
    groups["episode_0"]["observations"] = np.array([1, 5, 2, 2])
    source = save(tmp_path / "b.hdf5", groups, **given)
    refused(r"choices: expected 4 from 1, got 1 to 5", source.read)
