"""Streaming: what is carried from step to step equals one pass over the whole history."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.streams import CASES, LEVELS, H, case, close, model
from forecast.tables import frame_of, refused

from paratime.forecast.data.sources.table import read_table
from paratime.forecast.streaming.forecaster import Forecaster


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_step_of_interleaved_series_equals_one_pass(name, dtype):
    of = CASES[name](dtype)
    truth = {e["item_id"]: of.one_pass(e) for e in of}
    forecaster = Forecaster(of.task)
    for entry in of if of.data.static_real else ():
        codes = entry["feat_static_cat"]
        labels = [v[c] for v, c in zip(of.data.categories.values(), codes, strict=True)]
        forecaster.start(entry["item_id"], entry["feat_static_real"], labels)
    for step in range(30 - H):
        for entry in of:
            assert of.update(forecaster, entry, step) == 1
            found = of.predict(forecaster, entry, step)
            close(found, truth[entry["item_id"]][step], dtype)


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("steps", (1, 2, 7, 26))
@pytest.mark.parametrize("name", CASES)
def test_a_history_in_one_pass_equals_its_steps(name, steps, dtype):
    of = CASES[name](dtype)
    forecaster = Forecaster(of.task)
    forecaster.observe(replace(of.data, entries=of.first(steps)))
    for entry in of:
        close(of.predict(forecaster, entry, steps - 1), of.one_pass(entry)[steps - 1], dtype)
    for entry in of if steps < 26 else ():
        for step in range(steps, steps + 3):
            assert of.update(forecaster, entry, step) == 1
        close(of.predict(forecaster, entry, step), of.one_pass(entry)[step], dtype)


def test_an_unusable_history_leaves_out_all_of_its_collection():
    of = CASES["plain"](torch.float32)
    entries = of.first(5)
    for bad in (entries[0], entries[1] | {"item_id": "d", "target": np.zeros((2, 5))}):
        forecaster = Forecaster(of.task)
        refused(
            r"item_id: .* got 'a', which exists|target of series 'd': expected 1 of them, got 2",
            lambda bad=bad, f=forecaster: f.observe(replace(of.data, entries=[*entries, bad])),
        )
        assert len(forecaster) == 0


def test_an_empty_history_is_the_beginning_of_a_series():
    of = CASES["all"](torch.float64)
    forecaster = Forecaster(of.task)
    forecaster.observe(replace(of.data, entries=of.first(0)))
    entry = of.data.entries[2]
    of.update(forecaster, entry, 0)
    close(of.predict(forecaster, entry, 0), of.one_pass(entry)[0], torch.float64)


def test_a_model_in_training_forecasts_without_dropout_and_stays_in_training():
    of = CASES["plain"](torch.float64)
    entry, of_eval = of.data.entries[0], of.one_pass(of.data.entries[0])
    forecaster = Forecaster(of.task.train())
    of.update(forecaster, entry, 0)
    close(of.predict(forecaster, entry, 0), of_eval[0], torch.float64)
    assert of.task.network.training and all(p.requires_grad for p in of.task.parameters())


def test_many_series_at_once_equal_each_by_itself():
    of = CASES["past"](torch.float64)
    one, many = Forecaster(of.task), Forecaster(of.task)
    order = [[0, 1, 2], [2], [1, 0], [0, 1, 2]]
    done = [0, 0, 0]
    for series in order:
        rows = []
        for k in series:
            entry = of.data.entries[k]
            of.update(one, entry, done[k])
            time, value = entry["start"] + done[k], entry["target"][done[k]]
            rows.append((entry["item_id"], time, value, of.covariates(entry, done[k])))
            done[k] += 1
        assert many.update_many(rows) == [1] * len(rows)
    for k, entry in enumerate(of):
        truth = of.predict(one, entry, done[k] - 1)
        close(of.predict(many, entry, done[k] - 1), truth, torch.float64)
    assert many.update_many([]) == []
    refused(
        r"rows: .* got 2 of 'a'; call update_many once a step", lambda: many.update_many(rows * 2)
    )


def test_skipped_steps_are_missing_values():
    of = CASES["plain"](torch.float64)
    skips, explicit = Forecaster(of.task), Forecaster(of.task)
    rows = [("a", "2024-03-01 00:00", 1.0), ("b", "2024-03-01 02:00", 2.0)]
    last = [("a", "2024-03-01 05:00", 3.0), ("b", "2024-03-01 03:00", 4.0)]
    skips.update_many(rows)
    assert skips.update_many(last) == [5, 1]
    explicit.update_many(rows)
    for hour, value in zip(range(1, 6), (None, np.nan, None, None, 3.0), strict=True):
        assert explicit.update("a", datetime(2024, 3, 1, hour), value) == 1
    explicit.update("b", "2024-03-01T03", 4.0)
    for name in "ab":
        found, truth = (f.predict(name, levels=LEVELS) for f in (skips, explicit))
        close(found.forecast_array, truth.forecast_array, torch.float64)
        assert found.start_date == truth.start_date


def test_late_and_repeated_observations_change_nothing():
    of = CASES["plain"](torch.float64)
    forecaster = Forecaster(of.task)
    for hour in range(4):
        forecaster.update("a", datetime(2024, 3, 1, hour), float(hour))
    before = forecaster.predict("a").forecast_array
    assert forecaster.update("a", "2024-03-01 03:00", 7.0) == 0
    assert forecaster.update("a", "2024-02-01 03:00", np.inf) == 0
    assert forecaster.update_many([("a", "2024-03-01 00:00", 7.0), ("b", "2024-03-01", 1.0)]) == [
        0,
        1,
    ]
    assert np.array_equal(forecaster.predict("a").forecast_array, before)
    assert forecaster.late == {"a": 3} and len(forecaster) == 2 and "b" in forecaster


def test_labels_go_by_name_and_those_never_seen_are_alike():
    of = case("D", static_cat=["kind"])
    assert of.data.categories == {"kind": ("x", "y")}
    other = frame_of("D", 20).replace({"kind": {"x": "new", "y": "x"}})
    data = read_table(other, static_cat=["kind"])
    assert data.categories == {"kind": ("new", "x")}
    whole, steps = Forecaster(of.task), Forecaster(of.task)
    whole.observe(data)
    for entry, label in zip(data.entries, ("other", "x", None), strict=True):
        if label:
            steps.start(entry["item_id"], static_cat=[label])
        for step in range(entry["target"].shape[-1]):
            of.update(steps, entry, step)
        found, truth = (f.predict(entry["item_id"]).forecast_array for f in (steps, whole))
        close(found, truth, torch.float64)
    renamed = whole.predict("a").forecast_array
    as_x = Forecaster(of.task)
    as_x.add(data.entries[0] | {"feat_static_cat": [0]})
    assert not np.allclose(as_x.predict("a").forecast_array, renamed)


@pytest.mark.parametrize("name", CASES)
def test_restored_states_forecast_the_same_to_the_bit(name, tmp_path):
    of = CASES[name](torch.float32)
    forecaster = Forecaster(of.task)
    forecaster.observe(replace(of.data, entries=of.first(9)))
    first = of.data.entries[0]
    of.update(forecaster, first, 3)
    forecaster.save(tmp_path / "deep" / "states.pt")
    restored = Forecaster.restore(tmp_path / "deep" / "states.pt", of.task)
    assert restored.late == forecaster.late == {"a": 1} and len(restored) == 3
    for each in (restored, forecaster):
        each.add(of.first(9)[1] | {"item_id": "new"})  # beside the others, not in their place
    for step in range(9, 14):
        for entry in of:
            found, truth = (of.predict(f, entry, step - 1) for f in (restored, forecaster))
            assert np.array_equal(found, truth)
            assert of.update(restored, entry, step) == of.update(forecaster, entry, step) == 1
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["states.pt"]


def test_files_that_cannot_be_restored(tmp_path):
    of, path = CASES["plain"](torch.float32), tmp_path / "states.pt"
    forecaster = Forecaster(of.task)
    forecaster.update("a", "2024-01-01", 1.0)
    forecaster.save(path)
    whole = path.read_bytes()
    expected = r"states.pt: expected a file that Forecaster.save wrote, got "
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        refused(expected + "one that cannot be read", lambda: Forecaster.restore(path, of.task))
    torch.save({"a": 1}, path)
    refused(expected + "another kind of file", lambda: Forecaster.restore(path, of.task))
    path.unlink()
    refused(expected + "none there; check the path", lambda: Forecaster.restore(path, of.task))


def test_states_of_another_model_are_refused(tmp_path):
    of, path = CASES["plain"](torch.float32), tmp_path / "states.pt"
    Forecaster(of.task).save(path)
    others = [CASES["plain"](torch.float64).task, case("D", dtype=torch.float32).task]
    weights = CASES["plain"](torch.float32).task
    with torch.no_grad():
        weights.network.skip[0, 0] += 1e-3
    window = CASES["plain"](torch.float32).task
    window.network.scaling = replace(window.network.scaling, window=8)
    for task in (*others, weights, window):
        refused(
            r"states.pt: expected states of this model, got those of another one",
            lambda task=task: Forecaster.restore(path, task),
        )
    assert len(Forecaster.restore(path, CASES["plain"](torch.float32).task)) == 0


def test_states_do_not_grow_with_the_history_and_room_doubles():
    of = CASES["plain"](torch.float32)
    forecaster = Forecaster(of.task)

    def sizes() -> dict[str, torch.Size]:
        return {name: x.shape for name, x in forecaster._states.slots.tables.items()}

    forecaster.update("a", "2024-01-01", 1.0)
    before = sizes()
    for hour in range(1, 80):
        forecaster.update("a", datetime(2024, 1, 1) + timedelta(hours=hour), 1.0)
    assert sizes() == before
    rooms = set()
    for k in range(20):
        forecaster.update(f"series {k}", "2024-01-01", float(k))
        (room,) = {shape[0] for shape in sizes().values()}
        rooms.add(room)
    assert rooms == {2, 4, 8, 16, 32}


OWN = {
    "mondays": ("W-MON", "0h", None),
    "month ends": ("ME", "0h", None),
    "the 15th": ("MS", "14D", None),
    "07:00": ("D", "7h", None),
    "half past": ("h", "30min", None),
    "an offset": ("h", "0h", "+05:30"),
    "days of a zone": ("D", "7h", "Europe/Berlin"),
    "hours of a zone": ("h", "0h", "Europe/Berlin"),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_stream_continues_with_the_timestamps_of_its_table(kind, tmp_path):
    freq, offset, zone = OWN[kind]
    frame = frame_of(freq, 40, items=("a",))
    time = frame["timestamp"].dt.normalize() if freq != "h" else frame["timestamp"]
    frame["timestamp"] = (time + pd.Timedelta(offset)).dt.tz_localize(zone)
    data = read_table(frame[:-3])
    task = model(data, torch.float32)
    forecaster = Forecaster(task)
    forecaster.observe(data)
    forecaster.save(tmp_path / "states")
    again = Forecaster.restore(tmp_path / "states", task)
    for known in (forecaster, again):
        for row in frame[-3:].itertuples():
            assert known.update("a", row.timestamp, row.target) == 1
    between = frame["timestamp"].iloc[-1] + pd.Timedelta("11min")
    refused("expected steps of", lambda: again.update("a", between, 1.0))
