"""``paratime doctor`` over models of all slices, healthy and sick."""

import json
import math
from pathlib import Path

import pytest
import torch
from cases import MIXERS, WIDTH
from doctor.models import SICK, batch_of, language
from training.sick import SLICES, make_slice, make_trainer

from paratime import ParaGRU, ParaLSTM
from paratime.doctor.examine import examine
from paratime.doctor.findings import findings
from paratime.doctor.report import layer_table
from paratime.doctor.subject import training_config


@pytest.mark.parametrize("mixer", (ParaGRU, ParaLSTM))
@pytest.mark.parametrize("name", SICK)
def test_a_sick_model_gets_advice_that_a_healthy_one_does_not(name, mixer):
    make_sick, advice = SICK[name]
    task = language(mixer)
    batch = batch_of(task)
    healthy = findings(examine(task, lambda: task.losses(batch)), {})
    assert not [line for line in healthy if advice in line]
    make_sick(task)
    lines = findings(examine(task, lambda: task.losses(batch)), {})
    found = [line for line in lines if advice in line]
    assert found and all(";" in line and "\n" not in line for line in lines)


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_has_a_row(name):
    task = language(lambda width: MIXERS[name](), width=WIDTH)
    batch = batch_of(task)
    before = task.losses(batch)[0]
    layers = examine(task, lambda: task.losses(batch))
    assert len(layers) >= 2 and all(x.channels and x.weight_rms is not None for x in layers)
    assert all(x.dead is not None and x.not_finite == 0 for x in layers)
    lines = layer_table(layers).splitlines()
    assert len(lines) == len(layers) + 1 and all(len(x) < 200 for x in lines)
    torch.testing.assert_close(task.losses(batch)[0], before, rtol=0, atol=0)
    assert "step" not in {k for x in task.modules() for k in vars(x)}


@pytest.mark.parametrize("name", SLICES)
def test_a_model_of_every_slice(name, tmp_path):

    task, data = make_slice(name, tmp_path)
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(task, data)
    read = task.losses if name != "forecast" else task
    batch = next(iter(data.train_dataloader()))
    layers = examine(task.eval(), lambda: read(batch))
    assert layers and all(x.iterations is not None and x.slope for x in layers)
    assert all(math.isfinite(x.exponent) for x in layers)


def test_weights_alone_are_looked_at_without_data():
    task = language(ParaGRU)
    (first, *_) = examine(task)
    assert first.weight_rms and first.slope is None and "-" in layer_table([first])


def test_moments_and_other_weights_are_reported():
    lines = findings([], {"exp_avg of parameter 0": 3}, others=2)
    assert "2 are infinite or NaN" in lines[0] and "3 moments are" in lines[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    from language.models import train

    folder = tmp_path_factory.mktemp("run")
    return Path(train(folder))


def test_the_command_reads_the_data_of_the_run(run, paratime, tmp_path):
    status, out, err = paratime("doctor", "--ckpt_path", run, "--out", tmp_path / "layers.png")
    assert status == 0, err
    assert "exponent" in out and "encoder.blocks.0.mixer.mixer" in out
    assert (tmp_path / "layers.png").stat().st_size > 1000
    assert training_config(str(run)) is None or "config.yaml" in out


def test_the_command_prints_one_line_of_json(run, paratime):
    text = run.parents[2] / "text.txt"
    text = next(p for p in (run.parents[i] / "text.txt" for i in range(4)) if p.exists())
    status, out, err = paratime("doctor", "--ckpt_path", run, "--data", text, "--json", "true")
    assert status == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["layers"][0]["iterations"] >= 0 and isinstance(found["findings"], list)


def test_a_sick_checkpoint_is_named(run, paratime, tmp_path):
    saved = torch.load(run, weights_only=True)
    name = next(k for k in saved["state_dict"] if "weight_hh" in k)
    saved["state_dict"][name].view(-1)[0] = math.nan
    saved["optimizer_states"][0]["state"][0]["exp_avg"].view(-1)[:2] = math.inf
    torch.save(saved, tmp_path / "sick.ckpt")
    status, out, err = paratime("doctor", "--ckpt_path", tmp_path / "sick.ckpt")
    assert status == 0, err
    assert "1 weights are infinite or NaN" in out and "2 moments are infinite or NaN" in out
    assert "nothing: give --data or --training" in out


def test_data_of_another_kind_and_missing_files_end_in_one_line(run, paratime, tmp_path):
    for options in (("--training", tmp_path / "none.yaml"), ("--data", tmp_path / "none.txt")):
        status, _, err = paratime("doctor", "--ckpt_path", run, *options)
        assert status == 2 and len(err.strip().splitlines()) == 1, err
    status, _, err = paratime("doctor", "--ckpt_path", tmp_path / "none.ckpt")
    assert status == 2 and len(err.strip().splitlines()) == 1, err


def test_a_config_that_names_other_classes_is_not_read_unasked(run, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (tmp_path / "config.yaml").write_text("data:\n  class_path: os.system\n")
    assert training_config(str(folder / "a.ckpt")) is None


def test_a_forecaster_reads_a_table(tmp_path, paratime):
    from forecast.estimators import make_estimator, waves

    folder, table = tmp_path / "model", tmp_path / "sales.csv"
    make_estimator().train(waves()).serialize(folder)
    lines = ["item_id,timestamp,target"]
    for entry in waves():
        times = (entry["start"] + i for i in range(len(entry["target"])))
        pairs = zip(times, entry["target"], strict=True)
        lines += [f"{entry['item_id']},{time},{x}" for time, x in pairs]
    table.write_text("\n".join(lines))
    status, out, err = paratime("doctor", "--ckpt_path", folder, "--data", table, "--json", "true")
    assert status == 0, err
    (layer,) = json.loads(out.splitlines()[-1])["layers"]
    assert layer["kind"] == "ParaGRU" and layer["iterations"] >= 0


@pytest.mark.parametrize("recurrent", (False, True), ids=("at once", "step by step"))
def test_a_world_model_reads_trajectories(recurrent, tmp_path):
    from world.trajectories import numbered

    from paratime import Encoder
    from paratime.doctor.subject import reader
    from paratime.world.data.datamodule import TrajectoryData
    from paratime.world.data.sources.base import InMemory, Recording
    from paratime.world.data.sources.dreamer import write_npz
    from paratime.world.model.task import WorldTask

    recording = Recording(numbered(tuple(range(2, 22))))
    write_npz(recording.episodes, tmp_path / "episodes")
    spec = TrajectoryData(InMemory(recording)).spec
    task = WorldTask(Encoder(8, 1, mlp_size=8), spec, recurrent_posterior=recurrent).eval()
    (layer,) = examine(task, reader(task, str(tmp_path / "episodes"), None))
    assert layer.slope and layer.exponent is not None and layer.channels == 8
