"""Which source a path means, and which options a checkpoint remembers."""

import pytest

from paratime.errors import InputError
from paratime.world.data.sources.base import InMemory, Recording, source_options
from paratime.world.data.sources.catalog import trajectory_source
from paratime.world.data.sources.dreamer import Npz
from paratime.world.data.sources.gym import Gym
from paratime.world.data.sources.minari import Minari
from paratime.world.data.sources.table import LeRobot, Table

TABLE = Table("a.csv", ("x", "y"), ("u",), step=None, relative=("x",), terminal="done")


@pytest.mark.parametrize(
    ("source", "path"),
    [(TABLE, "b.csv"), (TABLE, "new/b.parquet"), (Npz("a", True, ("z",), "taken"), "b.npz")],
)
def test_options_hold_for_other_data_of_the_kind(source, path):
    known = source_options(source)
    found = trajectory_source(path, known)
    assert found == type(source)(**vars(source) | {"path": path})
    assert source_options(found)["options"] == known["options"] | {"path": path}


def test_options_do_not_hold_for_other_kinds(tmp_path):
    known = source_options(TABLE)
    assert trajectory_source("b.npz", known) == Npz("b.npz")
    assert trajectory_source("gym:CartPole-v1", source_options(Gym("A-v0", 3))) == Gym(
        "CartPole-v1"
    )
    with pytest.raises(InputError, match="use --source Table for tables"):
        trajectory_source("b.csv", source_options(Npz("a")))
    assert source_options(InMemory(Recording([]))) is None
    for name, kind in (("a.csv", Table), ("b.hdf5", Minari)):
        (tmp_path / name).write_text("")
        assert type(trajectory_source(str(tmp_path), known)) is kind


def test_folders_of_lerobot_are_known_by_their_description(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{}")
    assert trajectory_source(str(tmp_path)) == LeRobot(str(tmp_path))


def test_options_that_are_no_more_are_left_out():
    known = source_options(TABLE)
    known["options"] = {"path": "a.csv", "observation": ["x"], "action": ["u"], "former": 1}
    assert trajectory_source("b.csv", known) == Table("b.csv", ("x",), ("u",))
