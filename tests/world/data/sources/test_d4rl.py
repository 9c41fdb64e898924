"""D4RL's files, read."""

import numpy as np
import pytest
from world.trajectories import aligned, flat, refused

from paratime.world.data.sources.d4rl import D4RL

h5py = pytest.importorskip("h5py")


def save_flat(path, **others):
    with h5py.File(path, "w") as file:
        for key, x in flat(**others).items():
            if x is not None:
                file[key] = x
    return D4RL(str(path))


def test_rows_without_what_follows_them(tmp_path):
    recording = save_flat(tmp_path / "a.hdf5", **{"infos/qpos": np.ones(6)}).read()
    aligned(recording.episodes)
    assert [x.action[:, 0].tolist() for x in recording.episodes] == [[1, 3, 5], [7], [9, 11]]
    assert [x.reward.tolist() for x in recording.episodes] == [[0, 1, 2], [3], [4, 5]]
    assert [x.terminated for x in recording.episodes] == [True, False, False]
    assert not any(x.complete for x in recording.episodes)
    assert recording.episodes[1].name == f"episode 1 of {tmp_path / 'a.hdf5'}"


def test_rows_with_what_follows_them(tmp_path):
    rows = flat()
    recording = save_flat(tmp_path / "a.hdf5", next_observations=rows["actions"]).read()
    aligned(recording.episodes)
    assert [len(x) for x in recording.episodes] == [3, 1, 2]
    assert np.concatenate([x.reward for x in recording.episodes]).tolist() == [*range(6)]
    assert [x.terminated for x in recording.episodes] == [True, False, False]


def test_an_end_in_the_last_row_is_no_other_episode(tmp_path):
    source = save_flat(tmp_path / "a.hdf5", timeouts=np.isin(np.arange(6), (3, 5)))
    assert [len(x) for x in source.read().episodes] == [3, 1, 2]


BAD_ROWS = {
    "missing": (
        {"timeouts": None},
        r"timeouts of \S+: expected a dataset of that name, got only o",
    ),
    "ragged": (
        {"rewards": np.ones(5)},
        r"rewards of \S+: expected 6 rows as in actions, got shape",
    ),
    "flags": (
        {"terminals": np.ones((6, 1))},
        r"terminals of \S+: expected 6 rows .* shape \(6, 1\)",
    ),
    "nan": (
        {"observations": np.array([0, 1, 2, 3, np.nan, 5])},
        r"observation of episode 2 of \S+: expected finite numbers, got nan at step 0",
    ),
    "no rows": (
        {key: x[:0] for key, x in flat().items()},
        r"episodes of \S+: expected at least one row, got none; mend the file",
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_refused_in_one_line(name, tmp_path):
    others, pattern = BAD_ROWS[name]
    refused(pattern, save_flat(tmp_path / "a.hdf5", **others).read)
