"""Losses, gradients, weights and scores that are not finite."""

import logging
import math

import pytest
import torch
from language.models import train
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from training.sick import (
    LIMIT,
    SLICES,
    Record,
    Sicken,
    make_slice,
    make_trainer,
    make_trajectories,
)

from paratime.errors import InputError
from paratime.training.finite.steps import SkipNonFinite
from paratime.training.finite.weights import check_weights_are_finite
from paratime.training.optimizer import AdamW

SICK = {
    "a nan loss": {"loss": math.nan},
    "an infinite loss": {"loss": math.inf},
    "an infinite loss of finite gradients": {"more": math.inf},
    "a nan gradient": {"gradient": math.nan},
    "an infinite gradient": {"gradient": math.inf},
    "a gradient whose square is infinite": {"gradient": 1e30},
}
HELD = {
    "language": "tokens ",
    "forecast": "series 'wave ",
    "world": "episode ",
    "latent": "episode ",
}
ENDED = "training: expected finite losses and gradients, got infinity or NaN in each of the last"


def guard_of(trainer) -> SkipNonFinite:
    (found,) = [x for x in trainer.callbacks if isinstance(x, SkipNonFinite)]
    return found


@pytest.mark.parametrize("kind", SICK)
@pytest.mark.parametrize("name", SLICES)
def test_a_sick_step_moves_nothing_and_names_its_batch(name, kind, tmp_path, caplog):
    task, data = make_slice(name, tmp_path)
    record = Record()
    trainer = make_trainer(tmp_path, Sicken({1}, **SICK[kind]), record, max_steps=3)
    with caplog.at_level(logging.WARNING, "paratime"):
        trainer.fit(task, data)
    assert [record.moved(step) for step in (1, 2)] == [False, True]
    assert guard_of(trainer).skipped == 1
    line, summary = [x for x in caplog.messages if "skipped" in x]
    what = "loss" if "loss" in kind else "gradient's norm"
    assert line.startswith(f"step 2 skipped: the {what} was ") and "in batch " in line
    assert HELD[name] in line and "\n" not in line
    assert summary == "1 of 3 steps were skipped"


@pytest.mark.parametrize("options", ({"gradient_clip_val": 1.0}, {"precision": "bf16-mixed"}))
@pytest.mark.parametrize("kind", SICK)
def test_clipping_and_precision_change_nothing(kind, options, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("forecast", tmp_path)
    record = Record()
    sick = Sicken({1}, **SICK[kind])
    trainer = make_trainer(tmp_path, sick, record, max_steps=3, **options)
    trainer.fit(task, data)
    assert [record.moved(step) for step in (1, 2)] == [False, True]
    check_weights_are_finite(task)


@pytest.mark.parametrize("kind", SICK)
def test_one_sick_batch_of_those_that_accumulate_skips_their_step(kind, tmp_path, caplog):
    task, data = make_slice("language", tmp_path)
    record = Record()
    options = {"accumulate_grad_batches": 3, "max_steps": 3}
    trainer = make_trainer(tmp_path, Sicken({4}, **SICK[kind]), record, **options)
    with caplog.at_level(logging.WARNING, "paratime"):
        trainer.fit(task, data)
    assert [record.moved(n) for n in range(1, 9)] == [False, True] + [False] * 5 + [True]
    line = next(x for x in caplog.messages if "step 2 skipped" in x)
    assert ("batch 4 of" if "loss" in kind else "batch 3 of") in line
    assert ("and 1 more" in line) is ("loss" not in kind)


@pytest.mark.parametrize("name", SLICES)
def test_a_run_ends_after_so_many_skipped_steps_in_a_row(name, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice(name, tmp_path)
    sick = Sicken(range(2, 100), loss=math.nan)
    trainer = make_trainer(tmp_path, sick, max_steps=50)
    with pytest.raises(InputError, match=f"{ENDED} {LIMIT} steps, all skipped"):
        trainer.fit(task, data)
    assert guard_of(trainer).skipped == LIMIT
    check_weights_are_finite(task)


def test_a_row_is_broken_by_a_step_that_counts(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("language", tmp_path)
    sick = Sicken([n for n in range(40) if n % LIMIT], loss=math.nan)
    trainer = make_trainer(tmp_path, sick, max_steps=31)
    trainer.fit(task, data)
    assert guard_of(trainer).skipped == 27


@pytest.mark.parametrize("steps, sick, ends", ((1, {0}, True), (4, {3}, False), (4, {2, 3}, True)))
def test_a_run_that_would_end_within_a_row_ends_with_the_error(steps, sick, ends, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("language", tmp_path)
    trainer = make_trainer(tmp_path, Sicken(sick, loss=math.nan), max_steps=steps)
    if not ends:
        return trainer.fit(task, data)
    with pytest.raises(InputError, match=ENDED):
        trainer.fit(task, data)


@pytest.mark.parametrize("lr", (1e5, 1e12, 1e30))
@pytest.mark.parametrize("name", SLICES)
def test_weights_that_diverge_in_finite_steps_end_a_run_and_are_never_saved(
    name, lr, tmp_path, caplog
):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice(name, tmp_path, lr=lr)
    every = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=1, save_top_k=-1)
    trainer = make_trainer(tmp_path, every, max_steps=40, enable_checkpointing=True)
    with pytest.raises(InputError, match=r"got infinity or NaN in "):
        trainer.fit(task, data)
    for path in (tmp_path / "saved").glob("*.ckpt"):
        saved = torch.load(path, weights_only=True)
        tensors = [saved["state_dict"][name] for name, _ in task.named_parameters()]
        for state in saved["optimizer_states"][0]["state"].values():
            tensors += state.values()
        assert all(x.isfinite().all() for x in tensors), path


@pytest.mark.parametrize("where", ("weights", "moments"))
def test_a_checkpoint_with_a_value_that_is_not_finite_is_refused(where, tmp_path):
    task, data = make_slice("world", tmp_path)
    trainer = make_trainer(tmp_path, max_steps=2)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "good.ckpt")
    before = (tmp_path / "good.ckpt").read_bytes()
    parameter = task.network.head.weight
    if where == "moments":
        parameter = trainer.optimizers[0].state[parameter]["exp_avg_sq"]
    parameter.data[0, 0] = math.inf
    with pytest.raises(InputError, match=f"{where}.*: expected finite values.* in .*; lower the"):
        trainer.save_checkpoint(tmp_path / "good.ckpt")
    assert (tmp_path / "good.ckpt").read_bytes() == before


def test_nothing_is_saved_after_a_skipped_step_but_the_end_of_the_run(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("language", tmp_path)
    every = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"max_steps": 6, "enable_checkpointing": True}
    make_trainer(tmp_path, Sicken({2, 3}, loss=math.nan), every, **options).fit(task, data)
    names = sorted(path.name for path in (tmp_path / "saved").glob("*.ckpt"))
    assert names == [f"step={n}.ckpt" for n in (1, 2, 5, 6)]


def test_a_carried_state_begins_anew_after_a_skipped_step(tmp_path, caplog):
    """Otherwise the nan of one window would be the state of all that follow."""
    caplog.set_level(logging.ERROR, "paratime")
    task, _ = make_slice("world", tmp_path)
    data, kept = make_trajectories(mode="stream"), []
    trainer = make_trainer(tmp_path, Sicken({1}, loss=math.nan), max_steps=4)
    end = type(task).on_train_batch_end

    def watch(self, *arguments):
        kept.append(self.carry.kept is None)
        end(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(task), "on_train_batch_end", watch)
        trainer.fit(task, data)
    assert kept == [False, True, False, False]


class Scaler(torch.amp.GradScaler):
    """A scaler on a CPU, whose first scales are too large."""

    def __init__(self, scale: float) -> None:
        super().__init__("cpu", init_scale=scale)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the first is skipped
@pytest.mark.parametrize("scale, faults", ((2.0**20, 0), (1.0, LIMIT)))
def test_a_scaler_that_finds_its_scale_is_no_fault(scale, faults, tmp_path, caplog, monkeypatch):
    """Gradients overflow until the scale is small enough, or if none is, down to its floor."""
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("forecast", tmp_path)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=Scaler(scale))
    monkeypatch.setattr(
        plugin, "autocast_context_manager", lambda: torch.autocast("cpu", enabled=False)
    )
    limit = 2.0**10 if faults == 0 else 0.0
    step = task.training_step

    def overflows(batch, batch_idx):
        loss = step(batch, batch_idx)
        loss.register_hook(lambda g: torch.where(g.abs() > limit, torch.inf, g))
        return loss

    task.training_step = overflows
    trainer = make_trainer(tmp_path, max_steps=30, precision=None, plugins=[plugin])
    if faults:
        with pytest.raises(InputError, match=ENDED):
            trainer.fit(task, data)
    else:
        trainer.fit(task, data)
        assert plugin.scaler.get_scale() == limit
    assert guard_of(trainer).skipped == faults
    check_weights_are_finite(task)


@pytest.mark.parametrize("mode", ("min", "max"))
@pytest.mark.parametrize("bad", (math.nan, math.inf, -math.inf))
@pytest.mark.parametrize("when", ({0}, {1}, {0, 1, 2}))
def test_a_score_that_is_not_finite_is_never_the_best(mode, bad, when, tmp_path, caplog):
    task, data = make_slice("language", tmp_path)
    best = ModelCheckpoint(tmp_path / "saved", "{step}", monitor="val/loss", mode=mode)
    scores, log = [], task.log

    def logged(name, value, *arguments, **options):
        if name == "val/loss" and not trainer.sanity_checking:
            value = torch.tensor(bad) if len(scores) in when else value
            scores.append(value)
        log(name, value, *arguments, **options)

    task.log = logged
    options = {"max_steps": 3, "val_check_interval": 1, "check_val_every_n_epoch": None}
    options |= {"limit_val_batches": 1, "enable_checkpointing": True}
    trainer = make_trainer(tmp_path, best, **options)
    with caplog.at_level(logging.WARNING, "paratime"):
        trainer.fit(task, data)
    good = [x for n, x in enumerate(scores) if n not in when]
    assert (best.best_model_score is None) is (not good)
    assert not good or math.isfinite(best.best_model_score)
    reports = [x for x in caplog.messages if "val/loss is" in x]
    assert len(reports) == 1 and f"val/loss is {bad}, which counts as no best score" in reports[0]


def test_counts_go_on_after_a_resumption(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("language", tmp_path)
    trainer = make_trainer(tmp_path, Sicken({1}, loss=math.nan), max_steps=3)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "at.ckpt")
    task, data = make_slice("language", tmp_path)
    trainer = make_trainer(tmp_path, Sicken({1}, loss=math.nan), max_steps=6)
    trainer.fit(task, data, ckpt_path=tmp_path / "at.ckpt")
    assert guard_of(trainer).skipped == 2


def test_another_limit_is_a_callback_of_the_trainer(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("language", tmp_path)
    trainer = make_trainer(tmp_path, SkipNonFinite(2), Sicken(range(9), loss=math.nan), max_steps=9)
    with pytest.raises(InputError, match=f"{ENDED} 2 steps"):
        trainer.fit(task, data)


@pytest.mark.parametrize("lr, decay", ((math.nan, 0), (-1, 0), (math.inf, 0), (1e38, 0), (9, 1e30)))
def test_a_rate_that_no_step_can_have_is_refused(lr, decay):
    with pytest.raises(InputError, match=r"^lr: expected 0 to 1e\+30, also as a product"):
        AdamW(lr=lr, weight_decay=decay)


def test_the_command_line_ends_with_one_line_and_without_a_checkpoint(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        train(tmp_path, "--model.optimizer.lr=1e12", "--trainer.max_steps=30")
    assert ended.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"paratime: {ENDED} 10 steps")
    assert not [*tmp_path.rglob("*.ckpt")]


def test_every_process_sees_a_loss_that_is_not_finite_in_its_gradient(tmp_path, caplog):
    """Gradients are added up over processes; losses are not."""
    caplog.set_level(logging.ERROR, "paratime")
    task, data = make_slice("forecast", tmp_path)
    seen = []

    class Look(Callback):
        def on_after_backward(self, trainer, pl_module):
            seen.append([bool(p.grad.isnan().any()) for p in pl_module.parameters()])

    trainer = make_trainer(tmp_path, Sicken({1}, more=math.inf), Look(), max_steps=3)
    trainer.fit(task, data)
    assert [any(x) for x in seen] == [False, True, False]
