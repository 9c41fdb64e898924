"""Objects that data describes: of the classes that it may name, and of no others."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from paratime import ParaGRU, trust
from paratime.errors import InputError
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.io.saved import trust as room
from paratime.io.saved.trust import annotations, find_class, inside, make, make_value
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.solvers.base import Solver
from paratime.solvers.newton import Newton
from paratime.training.optimizer import AdamW, Decay, StableDecay


class Loaded(ParaGRU):
    """A user's mixer, in a module that is loaded already."""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a user's module, which nobody trusts yet and which is not loaded."""
    monkeypatch.setattr(room, "_trusted", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (
        "from subprocess import call\n"
        "from paratime import ParaGRU\n"
        "class MyMixer(ParaGRU):\n    pass\n"
        "def make(width, heads=1):\n    return MyMixer(width, heads=heads)\n"
    )
    (tmp_path / "mine_of_trust.py").write_text(text)
    yield "mine_of_trust"
    sys.modules.pop("mine_of_trust", None)


def refused(pattern, function, *arguments):
    with pytest.raises(InputError, match=pattern):
        function(*arguments)


@pytest.mark.parametrize(
    "path",
    [
        *("paratime.ParaGRU", "paratime.layers.recurrent.ParaGRU", "ParaGRU"),
        *(f"{Loaded.__module__}.Loaded",),
    ],
)
def test_classes_that_data_may_name(path):
    assert find_class(path, Mixer) in (ParaGRU, Loaded)


@pytest.mark.parametrize(
    ("path", "base", "current"),
    [
        ("paratime.optimizer.StableDecay", Decay, StableDecay),
        ("paratime.forecast.outputs.Quantiles", Output, Quantiles),
        ("paratime.Newton", Solver, Newton),
    ],
)
def test_old_paths_lead_to_classes_of_today(path, base, current):
    assert find_class(path, base) is current


def test_descriptions_become_objects():
    optimizer = {"lr": 1, "betas": [0.9, 0.99], "decay": {"class_path": "StableDecay"}}
    found = make(AdamW, optimizer)
    assert found == AdamW(lr=1.0, betas=(0.9, 0.99), decay=StableDecay())
    assert type(found.lr) is float
    mixer = {"class_path": "paratime.ParaGRU", "init_args": {"solver": {"class_path": "Newton"}}}
    encoder = make(Encoder, {"width": 8, "depth": 1, "mixer": mixer, "former": 3})
    assert encoder.width == 8
    assert make_value(Callable[[int], Mixer], "paratime.ParaGRU") is ParaGRU
    assert make_value(Solver | None, None) is None
    assert make_value(dict[str, int], {"class_path": "os.system"}) == {"class_path": "os.system"}


def test_arguments_that_a_class_hands_on_are_built():
    class Handing(ParaGRU):
        def __init__(self, width, **options):
            super().__init__(width, **options)

    hints = annotations(Handing)
    assert make_value(hints["solver"], {"class_path": "paratime.Newton"}) == Newton()


def test_a_users_module_is_imported_only_if_trusted(mine):
    refused(rf"{mine}.MyMixer: .* add --trust {mine}", find_class, f"{mine}.MyMixer", Mixer)
    assert mine not in sys.modules
    trust(mine)
    assert find_class(f"{mine}.MyMixer", Mixer).__name__ == "MyMixer"
    factory = Callable[[int], Mixer]
    assert isinstance(make_value(factory, f"{mine}.make")(8), Mixer)
    described = {"class_path": f"{mine}.make", "init_args": {"heads": 2}}
    assert isinstance(make_value(factory, described), partial)
    refused("no such class", find_class, f"{mine}.MyMixer", Output)
    refused("no such class", make_value, factory, f"{mine}.call")


def test_functions_of_loaded_modules_need_trust_too(mine):
    __import__(mine)
    factory = Callable[[int], Mixer]
    assert issubclass(make_value(factory, f"{mine}.MyMixer"), Mixer)
    refused("--trust", make_value, factory, f"{mine}.make")


@pytest.mark.parametrize("name", ["os", "subprocess.call", "", "a b", "mine;os", "../mine"])
def test_modules_of_python_are_not_trusted(name):
    refused("a module that you wrote", trust, name)


def test_what_does_not_fit_is_one_line():
    refused("AdamW: expected arguments that it accepts", make_value, AdamW, {"rate": 1})
    refused("Output: expected a class_path", make_value, Output, {"levels": [0.5]})
    refused(
        "init_args: expected arguments by name",
        make,
        AdamW,
        {"class_path": "AdamW"} | {"init_args": [1]},
    )
    refused("expected a class of paratime derived from Recipe", make, Recipe, None)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "/dev/zero", "a/../../b", "link", "dir"])
def test_files_elsewhere_are_not_those_of_a_folder(tmp_path, name):
    folder = tmp_path / "folder"
    (folder / "dir").mkdir(parents=True)
    (folder / "link").symlink_to("/etc/passwd")
    refused("expected a file in it", inside, folder, name)
    assert inside(folder, "whole.bin") == Path(folder, "whole.bin")
