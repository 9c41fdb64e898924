"""Options of the trainer that cannot be meant end in one line."""

import pytest

from paratime.main import build

CONFIG = """\
model: {class_path: ForecastTask, init_args: {encoder: {width: 8, depth: 1}}}
data:
  class_path: SeriesData
  init_args: {source: {class_path: Table, init_args: {path: series.csv}}, prediction_length: 4}
trainer:
  accelerator: cpu
  logger: false
  callbacks: """
REFUSED = {
    "accumulate_grad_batches": (0, "at least 1"),
    "check_val_every_n_epoch": (0, "at least 1"),
    "val_check_interval": (0, "limit_val_batches 0"),
    "gradient_clip_val": (-1, "at least 0"),
    "log_every_n_steps": (-1, "at least 0"),
    "num_sanity_val_steps": (-2, "at least -1"),
    "accelerator": ("nothing", "invalid accelerator name"),
    "strategy": ("nothing", "invalid strategy name"),
    "num_nodes": (0, "positive integer"),
    "devices": ("[0,1]", "an int > 0"),
}


def refused(paratime, name, value):
    """Return what ``fit`` says to an option."""
    model = ("--model", "LanguageTask", "--model.encoder.width", 8, "--model.encoder.depth", 1)
    cpu = () if name == "accelerator" else ("--trainer.accelerator", "cpu")
    source = ("--data", "TokenData", "--data.source", "Quickstart")
    option = (f"--trainer.{name}", value)
    status, out, err = paratime("fit", *model, *source, *cpu, *option)
    assert status == 2, out + err
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_of_the_trainer_is_refused_in_one_line(name, paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, why = REFUSED[name]
    line = refused(paratime, name, value)
    assert line.startswith("paratime: trainer") and why in line
    assert not [*tmp_path.iterdir()], "nothing is written"


@pytest.mark.parametrize("strategy", ("ddp_spawn", "ddp_fork", "ddp_notebook"))
def test_processes_that_the_command_line_cannot_follow_are_refused(
    strategy, paratime, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert refused(paratime, "strategy", strategy).endswith("with Lightning's Trainer")


@pytest.mark.parametrize("given", ("{}", "[]", "[{}]", "ONE", "[ONE]"))
def test_callbacks_are_none_one_or_several(given, tmp_path):
    one = "{class_path: Timer, init_args: {duration: 00:00:01:00}}"
    (tmp_path / "config.yaml").write_text(CONFIG + given.replace("ONE", one))
    cli = build(["-c", str(tmp_path / "config.yaml")])
    found = [type(x).__name__ for x in cli.trainer.callbacks].count("Timer")
    assert found == given.count("ONE")
    assert "callbacks" in cli.parser.dump(cli.config, skip_none=False)
