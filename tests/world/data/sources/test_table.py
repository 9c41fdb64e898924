"""Tables of steps to episodes."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from jsonargparse import ArgumentParser
from world.trajectories import aligned, echo, refused

from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.base import Source
from paratime.world.data.sources.table import LeRobot, Table
from paratime.world.evaluation.loading import unseen_episodes

COLUMNS = {"observation": ("x", "y"), "action": ("u", "v")}


def frame_of(names=("b", "a"), steps=4):
    """Return rows of episodes whose observation holds their last action, which is not known."""
    parts = []
    for seed, name in enumerate(names):
        episode = echo(steps=steps + seed, seed=seed)
        observed = episode.observation["observation"].astype(np.float64)
        taken = np.concatenate([episode.action, np.full((1, 2), np.nan)]).astype(np.float64)
        rows = {"episode": name, "step": np.arange(len(observed)), "x": observed[:, 0]}
        rows |= {"y": observed[:, 1], "u": taken[:, 0], "v": taken[:, 1]}
        parts.append(pd.DataFrame(rows | {"reward": [*episode.reward, np.nan], "other": "?"}))
    return pd.concat(parts, ignore_index=True)


def flagged(rows, **others):
    frame = frame_of(("a",))
    return frame.assign(done=np.isin(frame.step, rows), **others)


def save(path, frame, **options):
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return Table(str(path), **COLUMNS | options)


def check(recording):
    """Compare episodes with those that were written."""
    aligned(recording.episodes)
    for seed, episode in enumerate(recording.episodes):
        expected = echo(steps=4 + seed, seed=seed)
        assert len(episode) == len(expected) and not episode.terminated
        np.testing.assert_allclose(episode.reward, expected.reward, rtol=1e-6)


@pytest.mark.parametrize("name", ("a.csv", "a.csv.gz", "a.parquet"))
@pytest.mark.parametrize("shuffled", (False, True), ids=("sorted", "shuffled"))
def test_rows_are_steps(shuffled, name, tmp_path):
    frame = frame_of()
    if shuffled:
        frame = frame.iloc[[3, *range(8, 3, -1), 1, 0, 2, *range(9, len(frame))]]
    recording = save(tmp_path / name, frame).read()
    check(recording)
    assert [x.name for x in recording.episodes] == [
        f"episode {episode!r} of {tmp_path / name}" for episode in "ba"
    ]


def test_the_order_of_the_file(tmp_path):
    frame = frame_of().drop(columns="step")
    check(save(tmp_path / "a.csv", frame, step=None).read())


def test_steps_are_numbers_or_times(tmp_path):
    frame = frame_of(("a",), steps=12).iloc[::-1]
    (episode,) = save(tmp_path / "a.csv", frame).read().episodes
    aligned([episode])
    assert len(episode) == 12
    frame["step"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame.step, "D")
    (other,) = save(tmp_path / "a.parquet", frame).read().episodes
    np.testing.assert_array_equal(other.action, episode.action)


def test_files_folders_and_patterns(tmp_path):
    frame = frame_of()
    (tmp_path / "deep").mkdir()
    save(tmp_path / "1.csv", frame[frame.episode == "b"])
    save(tmp_path / "deep" / "2.parquet", frame[frame.episode == "a"])
    (tmp_path / ".hidden.csv").write_text("no table")
    for path in (tmp_path, tmp_path / "**" / "[12].*"):
        check(Table(str(path), **COLUMNS).read())
    save(tmp_path / "3.csv", frame)
    pattern = r"episode 'b' of \S+3.csv: expected rows in one file, got some in \S+1.csv as well"
    refused(pattern, Table(str(tmp_path), **COLUMNS).read)


def test_choices(tmp_path):
    frame = frame_of().assign(u=[*range(9), *range(2)])
    source = save(tmp_path / "a.csv", frame, action=("u",))
    assert not any(x.discrete for x in source.read().episodes)
    source = save(tmp_path / "a.csv", frame, action=("u",), discrete=True)
    episodes = source.read().episodes
    assert [x.action.tolist() for x in episodes] == [[0, 1, 2, 3], [5, 6, 7, 8, 0]]
    assert episodes[0].action.dtype == np.int64


def test_a_table_without_rewards(tmp_path):
    source = save(tmp_path / "a.csv", frame_of().drop(columns="reward"), reward=None)
    assert [x.reward.tolist() for x in source.read().episodes] == [[0] * 4, [0] * 5]


FLAGS = {"none": ([], False), "before the last": ([3], True), "last": ([4], True)}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("kind", (bool, int, float))
def test_an_episode_terminates_in_its_last_rows(kind, name, tmp_path):
    rows, terminated = FLAGS[name]
    frame = flagged(rows).astype({"done": kind})
    (episode,) = save(tmp_path / "a.csv", frame, terminal="done").read().episodes
    assert episode.terminated == terminated
    assert len(episode) == 4
    assert not Table(str(tmp_path / "a.csv"), **COLUMNS).read().episodes[0].terminated


def test_the_last_row_may_lack_its_flag(tmp_path):
    for rows, terminated in (([], False), ([3], True)):
        frame = flagged(rows).astype({"done": object})
        frame.loc[4, "done"] = None
        (episode,) = save(tmp_path / "a.csv", frame, terminal="done").read().episodes
        assert episode.terminated == terminated


def test_cells_may_be_lists(tmp_path):
    frame = frame_of()
    lists = pd.DataFrame(
        {
            "episode": frame.episode,
            "step": frame.step,
            "state": [*frame[["x", "y"]].to_numpy()],
            "action": [*frame[["u", "v"]].to_numpy()],
            "reward": [[x] for x in frame.reward],
        }
    )
    source = save(tmp_path / "a.parquet", lists, observation=("state",), action=("action",))
    check(source.read())
    whole = save(tmp_path / "a.parquet", frame)
    wide = save(tmp_path / "b.parquet", frame.join(lists.state), observation=("state", "x"))
    for one, other in zip(wide.read().episodes, whole.read().episodes, strict=True):
        np.testing.assert_array_equal(
            one.observation["observation"], other.observation["observation"][:, [0, 1, 0]]
        )
    lists.loc[2, "state"] = [[1.0]]
    pattern = (
        r"state at step 2 of episode 'b' of \S+: expected as many .* at step 0, 2, got 1; correct"
    )
    source = save(tmp_path / "a.parquet", lists, observation=("state",), action=("action",))
    refused(pattern, source.read)


def edit(row, **cells):
    def change(frame):
        frame = frame.astype({column: object for column in cells})
        for column, cell in cells.items():
            frame.loc[row, column] = cell
        return frame

    return change


def drop(*columns):
    return lambda frame: frame.drop(columns=[*columns])


BAD = {
    "missing column": (
        drop("y"),
        {},
        r"'y': expected a column of \S+a.csv, got none .* nearest are",
    ),
    "nearest": (drop("y"), {"observation": ("rewrd",)}, r"the nearest are 'reward', "),
    "no reward": (drop("reward"), {}, r"'reward': expected a column of \S+a.csv, got none of that"),
    "no columns": (drop(), {"action": ()}, r"action: expected at least one column, got none; name"),
    "nan": (
        edit(6, x=np.nan),
        {},
        r"x at step 1 of episode 'a' of \S+a.csv: expected finite numbers, got none; fill it in",
    ),
    "infinite": (edit(1, reward="inf"), {}, r"reward at step 1 of episode 'b' of .* got inf"),
    "text": (edit(4, y="?"), {}, r"y at step 4 of episode 'b' of \S+: expected finite .* got '\?'"),
    "a date": (
        edit(4, y="2026-01-05 12:00"),
        {},
        r"y at step 4 of episode 'b' .* got '2026-01-05 12:00'; convert it to seconds",
    ),
    "no action": (edit(7, v=None), {}, r"v at step 2 of episode 'a' of \S+: .*, got none; fill"),
    "twice": (edit(2, step=1), {}, r"step of episode 'b' of \S+: expected one row a step, got two"),
    "no step": (
        edit(2, step=None),
        {},
        r"step of episode 'b' of \S+: expected a number .* got none",
    ),
    "a time": (edit(2, step="3rd"), {}, r"step of episode 'b' of \S+: expected a number .*'3rd'"),
    "no name": (edit(2, episode=None), {}, r"episode in row 3 of \S+: expected the name of an epi"),
    "one row": (
        edit(0, episode="c"),
        {"last_row": "observation"},
        r"episode 'c' of \S+: expected at least two rows, got one; drop the episode, or add a row",
    ),
    "no rows": (lambda frame: frame[:0], {}, r"path \S+: expected rows, got none; check that it"),
    "a flag": (drop(), {"terminal": "step"}, r"step at step 2 of episode 'b' .* 1 or 0, got 2; c"),
    "half": (
        drop(),
        {"action": ("v",), "discrete": True},
        r"v at step 0 of episode 'b' of \S+: expected whole numbers from 0, got .*; number the ch",
    ),
    "two choices": (drop(), {"discrete": True}, r"u, v of episode 'b' .*, got 2 numbers; number"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_line(name, tmp_path):
    change, options, pattern = BAD[name]
    refused(pattern, save(tmp_path / "a.csv", change(frame_of()), **options).read)


def test_a_terminal_flag_in_the_middle(tmp_path):
    source = save(tmp_path / "a.csv", flagged([2]), terminal="done")
    pattern = r"done at step 2 of episode 'a' of \S+: expected true in the last two rows at most"
    refused(pattern, source.read)


def test_files_that_are_no_tables(tmp_path):
    source = Table(str(tmp_path / "a.csv"), **COLUMNS)
    refused(r"path \S+: expected a file, folder or pattern, got none there; paths", source.read)
    refused(
        r"expected files with suffix .csv, .csv.gz or .parquet,",
        Table(str(tmp_path), **COLUMNS).read,
    )
    (tmp_path / "a.csv").write_text("")
    refused(r"a.csv: expected a header and rows, got an empty file; check", source.read)
    (tmp_path / "a.csv").write_bytes("episode\né\n".encode("latin-1"))
    refused(r"a.csv: expected CSV text in UTF-8, got .*codec can't decode", source.read)
    save(tmp_path / "a.csv", frame_of())
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text().replace("?", "?,1"))
    refused(r"a.csv: expected CSV text in UTF-8, got Length of header", source.read)
    (tmp_path / "a.xlsx").write_text("")
    other = Table(str(tmp_path / "a.xlsx"), **COLUMNS)
    refused(r"expected suffix .csv, .csv.gz or .parquet, got .xlsx", other.read)
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    source = save(path, frame_of(steps=500))
    whole = path.read_bytes()
    for broken in (b"no parquet", whole[: len(whole) // 2], b"PAR1" + bytes(300) + whole[304:]):
        path.write_bytes(broken)
        refused(r"a.parquet: expected a Parquet file, got .*; write it again", source.read)


def test_parquet_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    source = Table(str(tmp_path / "a.parquet"), **COLUMNS)
    refused(r"expected the package pyarrow, got none installed; pip install pyarrow", source.read)


def robot(folder, number, **others):
    """Write a table as LeRobot has them, with a column that is not to be read."""
    pytest.importorskip("pyarrow")
    frame = frame_of((number,))
    rows = {
        "observation.state": [*frame[["x", "y"]].to_numpy(np.float32)],
        "action": [*frame[["u", "v"]].fillna(7).to_numpy(np.float32)],
        "observation.image": [{"bytes": b"", "path": "a.png"}] * len(frame),
        "episode_index": frame.episode,
        "frame_index": frame.step,
    }
    path = folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows | others).to_parquet(path)


def test_lerobot(tmp_path):
    for number in range(2):
        robot(tmp_path, number)
    (tmp_path / "meta").mkdir()
    pd.DataFrame({"task": ["fold"]}).to_parquet(tmp_path / "meta" / "tasks.parquet")
    episodes = LeRobot(str(tmp_path)).read().episodes
    aligned(episodes)
    assert [len(x) for x in episodes] == [5, 5], "a frame is a step"
    assert not any(x.terminated or x.complete or x.reward.any() for x in episodes)


def test_lerobot_with_rewards(tmp_path):
    ended = np.arange(5) == 4
    robot(tmp_path, 0, **{"next.reward": np.arange(5.0), "next.done": ended})
    for path in (tmp_path, tmp_path / "data" / "chunk-000" / "episode_000000.parquet"):
        (episode,) = LeRobot(str(path)).read().episodes
        assert episode.terminated and episode.reward.tolist() == [0, 1, 2, 3, 4]


def test_sources_are_injected():
    parser = ArgumentParser()
    parser.add_argument("--source", type=Source)
    init = {"path": "a.csv", "observation": ["x", "y"], "action": ["u"], "step": None}
    config = {"class_path": "paratime.world.data.sources.table.Table", "init_args": init}
    source = parser.instantiate_classes(parser.parse_object({"source": config})).source
    assert source == Table("a.csv", ("x", "y"), ("u",), step=None)
    given = ["--source=paratime.world.data.sources.table.LeRobot", "--source.path=a"]
    assert parser.instantiate_classes(parser.parse_args(given)).source == LeRobot("a")


def test_times_are_relative_on_demand(tmp_path):
    frame = frame_of()
    frame["time"] = 1.7e9 + frame.step
    frame["next_time"], frame["next_x"] = frame.time + 1, frame.x
    options = {"observation": ("time", "x"), "relative": ("time",)}
    recording = save(tmp_path / "a.csv", frame, **options).read()
    assert recording.names == ("time", "x")
    for episode in recording.episodes:
        seen = episode.observation["observation"]
        assert seen[:, 0].tolist() == [*range(len(seen))] and seen[0, 1] == 9
    steps = frame.dropna()
    options["next_observation"] = ("next_time", "next_x")
    for episode in save(tmp_path / "a.csv", steps, **options).read().episodes:
        seen = episode.observation["observation"]
        assert seen[:, 0].tolist() == [*range(len(seen))]
    refused(
        r"relative: expected columns of the observation, got y",
        save(tmp_path / "a.csv", frame, observation=("x",), relative=("y",)).read,
    )


def test_values_are_called_by_their_columns(tmp_path):
    frame = frame_of()
    lists = frame.assign(state=[*frame[["x", "y"]].to_numpy()])
    source = save(tmp_path / "a.parquet", lists, observation=("state", "x"))
    assert source.read().names == ("state[0]", "state[1]", "x")


def test_data_with_columns_in_another_order_are_refused(tmp_path):
    source = save(tmp_path / "a.csv", frame_of(("a", "b", "c", "d", "e")))
    spec = TrajectoryData(source, validation=0.2, test=0).spec
    assert (spec.names, spec.action_names) == (["x", "y"], ["u", "v"])
    assert len(unseen_episodes(source.read(), spec)) == 1
    for kind, names in COLUMNS.items():
        other = replace(source, **{kind: names[::-1]}).read()
        refused(f"{kind}s of the data: expected {', '.join(names)}", unseen_episodes, other, spec)
