"""Old paths of classes lead to the classes."""

from importlib import import_module
from pathlib import Path

import pytest

from paratime.moved import MOVED, RENAMED

PACKAGE = Path(__file__).parent.parent / "paratime"


@pytest.mark.parametrize("old", MOVED)
def test_an_old_module_holds_the_names_of_its_new_places(old):
    module = import_module(old)
    for home in MOVED[old]:
        for name, value in vars(import_module(home)).items():
            if isinstance(value, type) and value.__module__ == home and name[0] != "_":
                assert getattr(module, name) is value


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_leads_to_the_new_one(old):
    module, _, name = old.rpartition(".")
    assert getattr(import_module(module), name).__name__ == RENAMED[old]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nothing"):
        import_module("paratime.forecast.outputs").Nothing  # noqa: B018


def test_an_unknown_module_is_still_an_import_error():
    with pytest.raises(ModuleNotFoundError):
        import_module("paratime.forecast.nothing")
