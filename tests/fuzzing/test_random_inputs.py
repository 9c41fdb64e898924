"""Random tables, configs and tensors are used, or refused in one line."""

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fuzzing.formats import CONFIG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paratime import ParaGRU, ParaLSTM
from paratime.errors import InputError

MANY = pytest.mark.slow
FEW = settings(
    deadline=None, max_examples=40, derandomize=True, suppress_health_check=[*HealthCheck]
)
MANY_TIMES = settings(FEW, max_examples=3000, derandomize=False)

NAMES = st.sampled_from(["item_id", "timestamp", "target", "x", "Target", " target", "", "0", "ä"])
CELLS = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["2024-01-01", "2024-01-31", "2024-02-30", "1e400", "NaN", "-inf", "9999-12-31"]
    ),
    st.datetimes(),
)
DAYS = st.lists(st.integers(-3, 40), max_size=30)


@st.composite
def tables(draw) -> str:
    """Return a CSV file: random cells, or days and values that are disturbed."""
    if draw(st.booleans()):
        names = draw(st.lists(NAMES, min_size=1, max_size=5))
        rows = draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), max_size=9))
        return pd.DataFrame(rows, columns=names).to_csv(index=False)
    days = draw(DAYS)
    frame = pd.DataFrame({"timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D")})
    frame["item_id"] = draw(st.lists(CELLS, min_size=len(days), max_size=len(days)))
    frame["target"] = draw(st.lists(CELLS, min_size=len(days), max_size=len(days)))
    return frame.sample(frac=1, random_state=draw(st.integers(0, 9))).to_csv(index=False)


def one_line(error: Exception) -> None:
    text = str(error)
    assert isinstance(error, InputError) and text and "\n" not in text and len(text) < 1500, text


def read_table(text: str) -> None:
    from paratime.forecast.data.sources.table import Table

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "table.csv")
        path.write_text(text, encoding="utf-8")
        try:
            for entry in Table(str(path)).read().entries:
                assert np.asarray(entry["target"]).dtype.kind == "f"
        except InputError as error:
            one_line(error)
            assert "table.csv" in str(error) or error.args[0] == "freq"


def read_episodes(text: str) -> None:
    from paratime.world.data.sources.table import Table

    with TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        path = Path(folder, "table.csv")
        path.write_text(text, encoding="utf-8")
        columns = {"episode": "item_id", "step": "timestamp", "reward": None}
        try:
            Table(str(path), ("target",), ("x",), **columns).read()
        except InputError as error:
            one_line(error)
            assert "table.csv" in str(error)


@given(tables())
@FEW
def test_a_few_tables(text):
    read_table(text)
    read_episodes(text)


@MANY
@given(tables())
@MANY_TIMES
def test_many_tables(text):
    read_table(text)
    read_episodes(text)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def configs(draw) -> dict:
    """Return a config, a part of which is another value, renamed or gone."""
    config = yaml.safe_load(CONFIG)
    for _ in range(draw(st.integers(1, 2))):
        place = config
        while True:
            key = draw(st.sampled_from([*place]))
            if not isinstance(place[key], dict) or not place[key] or draw(st.integers(0, 3)) == 0:
                break
            place = place[key]
        kind = draw(st.sampled_from(["value", "name", "gone"]))
        if kind == "value":
            place[key] = draw(VALUES)
        elif kind == "name":
            place[draw(st.text(min_size=1, max_size=6))] = place.pop(key)
        else:
            del place[key]
        if not config:
            break
    return config


def read_config(config: dict) -> None:
    from paratime.cli.parser import mistakes_in_one_line
    from paratime.main import build

    said = io.StringIO()
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "config.yaml")
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        try:
            with redirect_stderr(said), redirect_stdout(io.StringIO()), mistakes_in_one_line():
                build(["-c", str(path)])
        except SystemExit as error:
            lines = [x for x in said.getvalue().splitlines() if x.startswith("paratime: ")]
            assert error.code == 2 and len(lines) == 1, said.getvalue()
            assert "Traceback" not in said.getvalue() and len(lines[0]) < 2000


@given(configs())
@FEW
def test_a_few_configs(config):
    read_config(config)


@MANY
@given(configs())
@MANY_TIMES
def test_many_configs(config):
    read_config(config)


DTYPES = st.sampled_from(
    [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
SIZES = st.sampled_from([0, 1, 2, 3, 4, 8])
SHAPES = st.one_of(
    st.tuples(SIZES, SIZES, st.just(4)),
    st.tuples(SIZES, st.just(8)),
    st.lists(SIZES, max_size=4).map(tuple),
)
SPECIAL = st.sampled_from([None, torch.nan, torch.inf, -torch.inf, 1e30, 1e-40])


@st.composite
def tensors(draw) -> torch.Tensor:
    """Return a tensor, a value of which may be special."""
    made = torch.randn(draw(SHAPES)) * 3
    value = draw(SPECIAL)
    if value is not None and made.numel():
        made.view(-1)[draw(st.integers(0, made.numel() - 1))] = value
    return made.to(draw(DTYPES))


ARGUMENTS = st.fixed_dictionaries(
    {"x": tensors()},
    optional={
        "h0": tensors(),
        "reset": tensors(),
        "lengths": st.one_of(tensors(), st.lists(st.integers(-1, 9), max_size=4).map(torch.tensor)),
    },
)


def use(layer: torch.nn.Module, arguments: dict) -> None:
    x = arguments["x"]
    try:
        y, _ = layer(**arguments)
    except InputError as error:
        one_line(error)
        return
    assert y.shape == (*x.shape[:-1], 8) and y.dtype.is_floating_point
    floats = [v for v in arguments.values() if isinstance(v, torch.Tensor)]
    if all(v.isfinite().all() and v.double().abs().max() < 1e4 for v in floats if v.numel()):
        assert y.isfinite().all()


@pytest.mark.parametrize("kind", (ParaGRU, ParaLSTM))
@given(ARGUMENTS)
@FEW
def test_a_few_tensors(kind, arguments):
    use(kind(4, 8), arguments)


@MANY
@pytest.mark.parametrize("kind", (ParaGRU, ParaLSTM))
@given(ARGUMENTS)
@MANY_TIMES
def test_many_tensors(kind, arguments):
    use(kind(4, 8), arguments)
