"""The command line: a whole run, and what a mistake looks like."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paratime import main

CONFIG = """\
model:
  class_path: LanguageTask
  init_args:
    encoder: {width: 16, depth: 1, mixer: ParaGRU, mlp_size: 16}
data:
  class_path: TokenData
  init_args:
    source:
      class_path: TextFiles
      init_args: {paths: [text.txt]}
    context_length: 32
    batch_size: 4
trainer:
  max_steps: 3
  val_check_interval: 3
  check_val_every_n_epoch: null
  logger:
    class_path: TensorBoardLogger
    init_args: {save_dir: runs, name: test}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("so much depends upon a red wheelbarrow. " * 200)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_fit_test_predict_and_generate(folder, paratime):
    status, out, err = paratime("fit", "-c", "config.yaml")
    assert status == 0, err
    assert re.search(r"val/bits_per_byte +\d", out)
    path = re.search(r"checkpoint +(\S+)", out)[1]
    assert Path(path).is_file()
    saved = yaml.safe_load((folder / "runs/test/version_0/config.yaml").read_text())
    assert saved["model"]["init_args"]["encoder"]["mixer"]["init_args"]["block_size"] == 1
    status, out, err = paratime("language", "size", "-c", "runs/test/version_0/config.yaml")
    assert status == 0 and "at 257 token ids" in out, err

    status, out, err = paratime("test", "-c", "config.yaml", "--ckpt_path", path)
    assert status == 0 and "test/bits_per_byte" in out, err
    status, out, err = paratime("predict", "-c", "config.yaml", "--ckpt_path", path)
    assert status == 0, err
    saved = re.search(r"predictions +(\S+)", out)[1]
    log_likelihood = torch.cat([x["prediction"] for x in torch.load(saved)])
    assert log_likelihood.shape[1] == 32 and (log_likelihood < 0).all()

    longer = ("--ckpt_path", path, "--trainer.max_steps", 5)
    status, out, err = paratime("fit", "-c", "config.yaml", *longer)
    assert status == 0 and "5 steps" in out + err, err
    options = ("-c", "config.yaml", "--ckpt_path", path, "--model.encoder.width", 8)
    status, _, err = paratime("test", *options)
    assert status == 2 and re.search(r"^paratime: .* in the checkpoint: expected .*", err, re.M)

    generate = ("language", "generate", "--ckpt_path", path, "--max_new_tokens", 20)
    generate += ("--prompt", "so much", "--seed")
    status, out, err = paratime(*generate, 0)
    assert status == 0 and out.startswith("so much") and len(out) > 10, err
    assert paratime(*generate, 0)[1] == out != paratime(*generate, 1)[1]


def test_validations_are_counted_over_epochs(folder, paratime):
    options = ("-c", "config.yaml", "--trainer.check_val_every_n_epoch", 1)
    status, out, err = paratime("fit", *options, "--trainer.val_check_interval", 9999)
    assert status == 0, err
    assert "validated nowhere, before the end at step 3; see --trainer.val_check_" in out
    status, out, err = paratime("fit", *options, "--trainer.val_check_interval", 3)
    assert status == 0 and "validated" not in out and "val/loss" in out, err


QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.logger", "false")


def test_every_run_has_a_folder_of_its_own_and_a_config_to_begin_anew(folder, paratime):
    def fit(*options):
        status, out, err = paratime("fit", "-c", "config.yaml", *QUIET, *options)
        assert status == 0, err
        return out, Path(re.search(r"^checkpoint +(\S+)", out, re.M)[1])

    paths = [fit()[1], fit()[1]]
    longer = ("--ckpt_path", paths[0], "--trainer.max_steps", 5)
    paths.append(fit(*longer)[1])
    runs = [path.parents[1] for path in paths]
    assert [run.name for run in runs] == ["version_0", "version_1", "version_2"]
    for run in runs:
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["ckpt_path"] is None
    assert not [*folder.glob("checkpoints*")] and paths[0].is_file()

    before = [*folder.rglob("*.ckpt")]
    out, path = fit("--ckpt_path", paths[2], "--trainer.max_steps", 5)
    assert path == paths[2] and [*folder.rglob("*.ckpt")] == before
    assert "nothing left to train at step 5" in out
    assert "raise --trainer.max_steps from 5 to continue" in out and "validated" not in out


@pytest.mark.parametrize("name", ("WandbLogger", "MLFlowLogger", "CometLogger"))
def test_a_logger_whose_package_is_missing_is_named_in_one_line(name, folder, paratime):
    package = name.removesuffix("Logger").lower()
    if find_spec(package) or find_spec(f"{package}_ml"):
        pytest.skip(f"{package} is here")
    (folder / "config.yaml").write_text(CONFIG.partition("  logger:")[0])
    status, _, err = paratime("fit", "-c", "config.yaml", "--trainer.logger", name)
    lines = [line for line in err.splitlines() if line.startswith("paratime: ")]
    assert status == 2 and len(lines) == 1 and package in lines[0], err
    assert "Traceback" not in err


NONE = {
    "fast_dev_run is a trial": ("--trainer.fast_dev_run", 1),
    "enable_checkpointing is false": ("--trainer.enable_checkpointing", "false"),
    "no step was made": ("--trainer.max_steps", 0),
}
SOME = {
    "on exceptions": ("OnExceptionCheckpoint", "--trainer.callbacks.dirpath", "broken"),
    "none of the best": ("ModelCheckpoint", "--trainer.callbacks.save_top_k", 0),
    "seldom": ("ModelCheckpoint", "--trainer.callbacks.every_n_train_steps", 100),
    "elsewhere": ("ModelCheckpoint", "--trainer.callbacks.dirpath", "elsewhere"),
}


@pytest.mark.filterwarnings("ignore:.*ckpt_path=", "ignore:Checkpoint directory")
def test_a_finished_fit_names_a_checkpoint_or_says_that_it_saved_none(folder, paratime):
    for reason, options in NONE.items():
        status, out, err = paratime("fit", "-c", "config.yaml", *QUIET, *options)
        assert status == 0 and re.search(f"checkpoint +none, as .*{reason}", out), err
    assert not [*folder.rglob("*.ckpt")]
    for name, (callback, *options) in SOME.items():
        given = (f"--trainer.callbacks+={callback}", *options)
        status, out, err = paratime("fit", "-c", "config.yaml", *QUIET, *given)
        assert status == 0, err
        path = Path(re.search(r"^checkpoint +(\S+)", out, re.M)[1])
        assert torch.load(path, weights_only=True)["global_step"] == 3
        assert path.parent.name == "elsewhere" if name == "elsewhere" else "checkpoints"


def test_the_mixer_and_solver_are_named_on_the_command_line(folder, paratime):
    options = ("--trainer.fast_dev_run", 1, "--model.encoder.mixer")
    for choice in (
        ("ParaLSTM",),
        ("ParaGRU", "--model.encoder.mixer.block_size", 4),
        ("ParaGRU", "--model.encoder.mixer.solver", "Sequential"),
        ("ParaGRU", "--model.encoder.mixer.init", "UniformInit"),
        ("cases.ElmanMixer",),
    ):
        status, _, err = paratime("fit", "-c", "config.yaml", *options, *choice)
        assert status == 0, err


def test_the_text_is_named_on_the_command_line(folder, paratime):
    (folder / "other.txt").write_text("glazed with rain water beside the white chickens. " * 100)
    text = ("--data.source", "TextFiles", "--data.source.paths", "[other.*]")
    status, _, err = paratime("fit", "-c", "config.yaml", "--trainer.fast_dev_run", 1, *text)
    assert status == 0, err


def test_what_follows_from_the_data_is_linked(folder, paratime):
    status, _, err = paratime("fit", "-c", "config.yaml", "--trainer.fast_dev_run", 1)
    assert status == 0 and "257" not in CONFIG, err
    status, _, err = paratime("fit", "-c", "config.yaml", "--model.init_args.vocab_size", 300)
    assert status == 2
    assert "unknown key" in err and "vocab_size" in err and len(err.splitlines()) == 1
    status, _, err = paratime("fit", "-c", "config.yaml", "--model.spec.vocab_size", 300)
    assert status == 2 and "unknown key" in err and "spec" in err


MISTAKES = {
    "key": ("width: 16", "widht: 16", ["config.yaml:4: unknown key 'widht'", "nearest: width"]),
    "data key": ("batch_size", "batch_sise", ["config.yaml:12: unknown key", "batch_size"]),
    "trainer key": ("max_steps", "max_step", ["config.yaml:14: unknown key", "max_steps"]),
    "section": ("data:", "dta:", ["config.yaml:5: unknown key", "data"]),
    "class": ("ParaGRU", "ParaGRUU", ["config.yaml:4: unknown class 'ParaGRUU'", "ParaGRU"]),
    "task": ("LanguageTask", "LangTask", ["config.yaml:2: unknown class", "LanguageTask"]),
    "source": ("TextFiles", "TextFile", ["config.yaml:9: unknown class", "TextFiles"]),
    "logger": (
        "TensorBoardLogger",
        "TensorboardLogger",
        ["config.yaml:18", "nearest: TensorBoardLogger"],
    ),
    "type": ("depth: 1", "depth: one", ["config.yaml:4: encoder.depth: Expected a int", "one"]),
    "value": ("depth: 1", "depth: 0", ["Encoder: expected width and depth at least 1, got"]),
    "missing": ("depth: 1, ", "", ["depth"]),
    "yaml": ("init_args:", "init_args: [", ["config.yaml", "line"]),
    "file": ("text.txt", "nowhere.txt", ["paths: expected an existing file", "'nowhere.txt'"]),
    "long": ("context_length: 32", "context_length: 9999", ["context_length: expected 1 to"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_config_is_one_line(name, folder, paratime):
    right, wrong, expected = MISTAKES[name]
    assert right in CONFIG
    (folder / "config.yaml").write_text(CONFIG.replace(right, wrong, 1))
    status, _, err = paratime("fit", "-c", "config.yaml")
    message = [line for line in err.splitlines() if line.startswith("paratime: ")]
    assert status == 2 and len(message) == 1 and err.endswith(message[0] + "\n"), err
    for part in expected:
        assert part in message[0]


def test_a_resumed_run_names_every_option_that_it_changes(folder, paratime, caplog):
    stopping = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    given = ("-c", "config.yaml", *stopping)
    status, out, err = paratime("fit", *given)
    path = re.search(r"checkpoint +(\S+)", out)[1]
    assert status == 0 and not lines_of(caplog), err
    status, _, err = paratime("fit", *given, "--ckpt_path", path, "--trainer.max_steps", 5)
    assert status == 0 and lines_of(caplog) == ["trainer.max_steps: 5, the checkpoint had 3"], err
    caplog.clear()
    changed = {
        "model.optimizer.lr": ("1e-05", "0.0003"),
        "model.z_loss": ("0.0", "0.0001"),
        "data.batch_size": ("2", "4"),
        "seed_everything": ("7", "0"),
        "trainer.callbacks.EarlyStopping.patience": ("9", "3"),
        "trainer.gradient_clip_val": ("1.0", "none"),
        "trainer.max_steps": ("4", "3"),
    }
    typed = {name.replace("EarlyStopping.", ""): new for name, (new, _) in changed.items()}
    options = [part for name, new in typed.items() for part in (f"--{name}", new)]
    status, _, err = paratime("fit", *given, "--ckpt_path", path, *options)
    assert status == 0, err
    expected = {f"{name}: {new}, the checkpoint had {old}" for name, (new, old) in changed.items()}
    assert {line.removeprefix("model.") for line in lines_of(caplog)} == {
        line.removeprefix("model.") for line in expected
    }


def lines_of(caplog) -> list[str]:
    return [x.getMessage() for x in caplog.records if "the checkpoint had" in x.getMessage()]


def test_a_run_without_an_end_has_one(folder, paratime):
    (folder / "config.yaml").write_text(CONFIG.replace("max_steps: 3", "max_steps: -1"))
    few = ("--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 0)
    few += ("--trainer.log_every_n_steps", 1)
    given = ("fit", "-c", "config.yaml", *few, "--trainer.val_check_interval", 1)
    assert main.STEPS == 1000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "STEPS", 4)
        status, out, err = paratime(*given)
    assert status == 0 and "training ends after 4 steps; see --trainer.max_steps" in out, err
    status, out, err = paratime(*given, "--trainer.max_epochs", 2)
    assert status == 0 and "training ends" not in out and "step=2" in out, err


def test_curves_have_points_and_no_empty_ones(folder, paratime):
    status, _, err = paratime("fit", "-c", "config.yaml")
    assert status == 0, err
    events = EventAccumulator(str(folder / "runs/test/version_0")).Reload()
    names = events.Tags()["scalars"]
    assert len(events.Scalars("train/loss")) == 3
    assert "hp_metric" not in names and not [name for name in names if "solver" in name]


COMMANDS = {
    ("fti",): ["unknown command 'fti'; nearest: fit"],
    ("fit", "-c", "nowhere.yaml"): ["nowhere.yaml", "not exist"],
    ("fit", "-c", "config.yaml", "--trainer.max_step", 3): ["unknown key", "max_steps"],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer", "Mamba9"): ["unknown class 'Mamba9'"],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer", "nowhere.Mine"): [
        "encoder.mixer: no module nowhere here, nor on PYTHONPATH"
    ],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer", "paratime.Mine"): [
        "encoder.mixer: module paratime has no Mine"
    ],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer", "paratime.Cell"): [
        "expected a subclass of Mixer, got paratime.Cell; a cell becomes one in Recurrent(cell)"
    ],
    ("fit", "-c", "config.yaml", "--optimizer", "SGD"): [
        "unknown key 'optimizer'; the optimiser is AdamW, see --model.optimizer.lr"
    ],
    ("fit", "-c", "config.yaml", "--lr_scheduler", "StepLR"): [
        "unknown key 'lr_scheduler'; the schedule is the optimiser's, see --model.optimizer.warmup"
    ],
    ("fit", "-c", "config.yaml", "--lr", 1e-3): ["'lr'; nearest: --model.optimizer.lr"],
    ("fit", "-c", "config.yaml", "--model.lr", 1e-3): ["'lr'; nearest: --model.optimizer.lr"],
    ("fit", "-c", "config.yaml", "--model.optimizer.lrr", 1): ["nearest: --model.optimizer.lr"],
    ("fit", "-c", "config.yaml", "--model.encoder.dim", 8): ["nearest: --model.encoder.width"],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer", "paragru"): [
        "unknown class 'paragru'; nearest: ParaGRU"
    ],
    ("test", "-c", "config.yaml", "--ckpt_path", "x.ckpt"): ["ckpt_path", "got 'x.ckpt'"],
    ("test", "-c", "config.yaml"): ["ckpt_path: expected the checkpoint to use, got none"],
    ("fit", "-c", "config.yaml", "--ckpt_path", "text.txt"): ["expected a checkpoint, got another"],
    ("fit", "-c", "text.txt"): ["config: expected keys and values, got: so much"],
    ("fit", "-c", "config.yaml", "--model.encoder.mixer.solver.chunk", 8): [
        "solver: name a class before its options, one of Newton, Sequential"
    ],
    ("fit",): ["required: --data, --model; or name a config with -c FILE"],
    ("fit", "--model", "LanguageTask", "--data", "TokenData"): [
        "required: --model.encoder.width, --model.encoder.depth"
    ],
    ("fit", "-c", "config.yaml", "--data.source", "JsonLines", "--data.source.field", "a"): [
        "unknown key 'field'; JsonLines has paths, text"
    ],
    ("fit", "-c", "config.yaml", "--data.tokenizer", "TokenizerFile"): [
        "required: --data.tokenizer.path"
    ],
    ("fit", "-c", "config.yaml", "--trainer.profiler", "none"): ["profiler", "it can only be"],
    ("fit", "-c", "config.yaml", "--model.encoder.depth", "x"): ["paratime: encoder.depth: Exp"],
    ("language", "generate", "--ckpt_path", "x.ckpt"): ["ckpt_path", "got 'x.ckpt'"],
    ("language", "generate", "--ckpt_path", "text.txt"): ["expected a checkpoint, got another"],
    ("language", "generate", "--ckpt_pth", "x.ckpt"): ["unknown key", "ckpt_path"],
    ("language", "genrate"): ["genrate", "generate"],
    ("language", "fit"): ["unknown choice 'fit'", "there is paratime fit"],
    ("generate",): ["unknown command 'generate'; nearest: language generate"],
    ("language", "generate", "--temp", 1): ["unknown key 'temp'; nearest: temperature"],
    ("fit", "--data.help", "TextFiles"): ["'TextFiles' is a class of another kind"],
    ("fit", "-c", "config.yaml", "--data.source.paths", "*.text"): ["paths", "got '*.text'"],
    ("fit", "-c", "config.yaml", "--data.source", "PreparedCorpus", "--data.source.path", "none"): [
        "none: expected the folder of a corpus",
        "write it with paratime language prepare",
    ],
}


@pytest.mark.parametrize("args", COMMANDS, ids=lambda a: " ".join(map(str, a)))
def test_a_mistake_on_the_command_line_is_one_line(args, folder, paratime):
    status, _, err = paratime(*args)
    message = err.strip().splitlines()
    assert status != 0 and len(message) == 1, err
    for part in COMMANDS[args]:
        assert part in message[0]


@pytest.mark.parametrize("logger", ("CSVLogger", "TensorBoardLogger"))
def test_runs_that_begin_at_once_have_folders_of_their_own(logger, folder, paratime, monkeypatch):
    """As if none had seen the folder of the other."""
    from lightning.pytorch import loggers

    monkeypatch.setattr(getattr(loggers, logger), "_get_next_version", lambda _: 0)
    words = (
        "--trainer.logger",
        logger,
        "--trainer.logger.save_dir",
        "logs",
        "--trainer.max_steps",
        1,
    )
    for _ in range(2):
        status, _, err = paratime("fit", "-c", "config.yaml", *words)
        assert status == 0, err
    found = sorted((folder / "logs").rglob("config.yaml"))
    assert [path.parent.name for path in found] == ["version_0", "version_1"]


def test_an_empty_text(folder, paratime):
    (folder / "text.txt").write_text("")
    status, _, err = paratime("fit", "-c", "config.yaml")
    assert status == 2 and "text: expected at least one document with text, got none" in err


def test_configs_of_earlier_versions_are_read(folder, paratime):
    (folder / "config.yaml").write_text(f"{CONFIG}optimizer: null\nlr_scheduler: null\n")
    status, out, err = paratime("fit", "-c", "config.yaml", "--print_config")
    assert status == 0 and "lr_scheduler" not in out, err
    status, out, _ = paratime("fit", "--help")
    assert status == 0 and "--optimizer" not in out and "--lr_scheduler" not in out


def test_help_version_and_info(paratime):
    assert "paratime fit -c" in paratime("--help")[1] == paratime()[1]
    assert re.fullmatch(r"paratime \d+\.\d+\.\d+\n", paratime("--version")[1])
    info = paratime("info")[1]
    assert re.search(r"^torch +\d", info, re.MULTILINE) and "c++ compiler" in info
