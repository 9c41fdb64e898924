"""Runs that go on, and rates that a run finds for itself."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from language.models import train
from language.runs import make_data, make_task, make_trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateFinder
from torch.utils.data.distributed import DistributedSampler

from paratime.language import Document, InMemory
from paratime.language.data.datamodule import TokenData
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaLSTM
from paratime.training.optimizer import AdamW

DOCUMENTS = [Document(f"d{i}", f"text {i} " + "abcdefghij"[i % 10] * (i % 37)) for i in range(73)]


class Note(Callback):
    """Notes what each batch is and at which rate it is learned; saves behind one of them."""

    def __init__(self, path: Path | None = None, batches: int = -1) -> None:
        self.seen, self.path, self.batches = [], path, batches

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.seen.append((rate, trainer.current_epoch, batch["inputs"].tolist()))

    def on_train_batch_end(self, trainer, *_) -> None:
        if len(self.seen) == self.batches:
            trainer.save_checkpoint(self.path)


def run(folder: Path, note: Note, *callbacks, ckpt_path=None, task=None, data=None, **options):
    torch.manual_seed(0)
    task = make_task() if task is None else task
    data = make_data(folder) if data is None else data
    quiet = {"enable_checkpointing": False, "limit_val_batches": 0}
    trainer = make_trainer(folder, callbacks=[*callbacks, note], **quiet, **options)
    trainer.fit(task, data, ckpt_path=ckpt_path)
    return task


def assert_equal(own: LanguageTask, truth: LanguageTask) -> None:
    for name, value in truth.state_dict().items():
        assert torch.equal(own.state_dict()[name], value), name


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
@pytest.mark.parametrize("mode", ("packed", "stream"))
@pytest.mark.parametrize(
    "options",
    ({"max_epochs": 2}, {"max_steps": 9, "accumulate_grad_batches": 2}),
    ids=str,
)
@pytest.mark.parametrize("stop", (4, 14))
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(stop, options, mode, tmp_path):
    def go(note, ckpt_path=None):
        given = {"context_length": 16, "batch_size": 8, "cache_dir": str(tmp_path), "mode": mode}
        data, callbacks = TokenData(InMemory(DOCUMENTS), **given), [EMAWeightAveraging(decay=0.9)]
        return run(tmp_path, note, *callbacks, ckpt_path=ckpt_path, data=data, **options)

    whole, again = Note(tmp_path / "half.ckpt", stop), Note()
    expected = go(whole)
    resumed = go(again, tmp_path / "half.ckpt")
    assert len(whole.seen) > 15 and whole.seen[stop:] == again.seen
    assert_equal(resumed, expected)


class Save(Callback):
    """Saves in a hook of Lightning, the nth time that it comes by; notes windows by steps."""

    def __init__(self, hook: str = "", times: int = 0, path: Path | None = None) -> None:
        self.times, self.path, self.windows, self.step = times, path, [], 0
        if hook:
            setattr(self, hook, self._come_by)

    def on_train_batch_start(self, trainer, module, batch, *_) -> None:
        rows = batch["inputs"].tolist()
        self.windows += [(trainer.global_step, row) for row in rows]

    def _come_by(self, trainer, *_) -> None:
        if trainer.sanity_checking or trainer.state.stage is None:
            return
        self.times -= 1
        if not self.times:
            self.step = trainer.global_step
            trainer.save_checkpoint(self.path)


HOOKS = ("on_before_backward", "on_before_optimizer_step", "on_train_batch_end")
HOOKS += ("on_validation_start", "on_validation_end", "on_train_epoch_end")


def pair(folder, mode, hook, times, options, later):
    """Return what a run that saved itself saw, what one saw that continued it, and their tasks."""
    given = {"context_length": 16, "cache_dir": str(folder), "mode": mode}
    (folder / "half.ckpt").unlink(missing_ok=True)

    def go(note, batch_size=8, ckpt_path=None, **given_options):
        torch.manual_seed(0)
        data = TokenData(InMemory(DOCUMENTS), **given, batch_size=batch_size)
        task = LanguageTask(Encoder(8, 1, ParaLSTM, mlp_size=8), optimizer=AdamW(lr=0.01))
        quiet = {"enable_checkpointing": False, "limit_val_batches": 1, "max_steps": 12}
        trainer = make_trainer(folder, callbacks=[note], **quiet | given_options)
        trainer.fit(task, data, ckpt_path=ckpt_path)
        return task

    whole, again = Save(hook, times, folder / "half.ckpt"), Save()
    expected = go(whole, **options)
    assume((folder / "half.ckpt").exists())
    return whole, again, expected, go(again, **options | later, ckpt_path=folder / "half.ckpt")


saved = given(
    mode=st.sampled_from(("packed", "stream")),
    hook=st.sampled_from(HOOKS),
    times=st.integers(1, 30),
    batches=st.integers(1, 4),
    rows=st.sampled_from((5, 8)),
    val_check_interval=st.integers(3, 7),
)
few = settings(deadline=None, max_examples=5, derandomize=True)


@few
@saved
def test_wherever_a_run_is_saved_it_ends_alike(tmp_path_factory, mode, hook, times, **options):
    options = {
        "accumulate_grad_batches": options["batches"],
        "batch_size": options["rows"],
        "val_check_interval": options["val_check_interval"],
        "check_val_every_n_epoch": None,
    }
    whole, again, expected, resumed = pair(
        tmp_path_factory.getbasetemp(), mode, hook, times, options, {}
    )
    assert again.windows == [x for x in whole.windows if x[0] >= whole.step]
    assert_equal(resumed, expected)


@few
@saved
@pytest.mark.parametrize("later", ({"batch_size": 3}, {"batch_size": 11}, {"accumulate": 3}))
def test_data_continue_where_they_were(tmp_path_factory, later, mode, hook, times, **options):
    """With other batches, and other numbers of them in a step."""
    options = {
        "accumulate_grad_batches": options["batches"],
        "batch_size": options["rows"],
        "val_check_interval": options["val_check_interval"],
        "check_val_every_n_epoch": None,
    }
    change = {"batch_size": later.get("batch_size", options["batch_size"])}
    change["accumulate_grad_batches"] = later.get("accumulate", options["accumulate_grad_batches"])
    folder = tmp_path_factory.getbasetemp()
    later = change | {"max_steps": 18}
    whole, again, *_ = pair(folder, mode, hook, times, options, later)
    seen = [row for step, row in whole.windows if step < whole.step]
    steps = [step for step, _ in again.windows]
    assert steps[0] == whole.step
    a_step = change["batch_size"] * change["accumulate_grad_batches"]
    if mode == "packed":
        rest = [row for _, row in again.windows]
        expected = [row for _, row in whole.windows][len(seen) :]
        common = min(len(rest), len(expected))
        assert rest[:common] == expected[:common]
        data = TokenData(InMemory(DOCUMENTS), context_length=16, cache_dir=str(folder))
        epoch = len(data.train_dataloader().sampler)
        assert steps.count(whole.step) == min(a_step, epoch - len(seen) % epoch)


def test_each_process_has_lanes_of_its_own(tmp_path):
    def batches(trainer, batch_size):
        given = {"context_length": 16, "batch_size": batch_size, "cache_dir": str(tmp_path)}
        data = TokenData(InMemory(DOCUMENTS), **given, mode="stream")
        data.trainer = trainer
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        assert trainer is None or isinstance(loader.sampler, DistributedSampler)  # is left alone
        return list(loader)

    shares = [{"num_replicas": 2, "rank": rank} for rank in range(2)]
    trainers = [SimpleNamespace(distributed_sampler_kwargs=x) for x in shares]
    ranks = [batches(trainer, 3) for trainer in trainers]
    for batch, *parts in zip(batches(None, 6), *ranks, strict=True):
        for rank, part in enumerate(parts):
            assert all(torch.equal(value, batch[name][rank::2]) for name, value in part.items())


class TestRateFinder:
    def finder(self) -> LearningRateFinder:
        return LearningRateFinder(num_training_steps=20, min_lr=1e-5, max_lr=1e-2)

    def run(self, folder, note, *callbacks, lr=1e-9, **options):
        optimizer = AdamW(lr=lr, weight_decay=0.3, warmup=0.4)
        task = make_task(optimizer=optimizer)
        return run(folder, note, *callbacks, task=task, max_steps=8, **options)

    def test_a_run_has_the_schedule_of_the_rate_that_was_found(self, tmp_path):
        finder, found, given = self.finder(), Note(), Note()
        task = self.run(tmp_path, found, finder)
        rate = finder.optimal_lr.suggestion()
        assert rate >= 1e-5 and task.lr == task.optimizer.lr == rate
        assert task.optimizer.weight_decay == 0.3
        self.run(tmp_path, given, lr=rate)
        rates, batches = ([seen[k] for seen in found.seen] for k in (0, 2))
        assert rates == pytest.approx([seen[0] for seen in given.seen])
        assert batches == [seen[2] for seen in given.seen]

    def test_a_run_that_goes_on_keeps_it(self, tmp_path):
        finder = self.finder()
        first = Note(tmp_path / "half.ckpt", 5)
        self.run(tmp_path, first, finder)
        second = Note()
        self.run(tmp_path, second, ckpt_path=tmp_path / "half.ckpt")
        assert len(second.seen) == 3 and second.seen == first.seen[-3:]

    def test_checkpoints_that_cannot_be_used(self, tmp_path, paratime):
        """With a finder a run would begin anew, with the weights of the checkpoint."""
        path = train(tmp_path)
        config = "model: {class_path: LanguageTask, init_args: {encoder: {width: 8, depth: 1}}}\n"
        config += "data: {class_path: TokenData, init_args: {source: Quickstart}}\n"
        (tmp_path / "a.yaml").write_text(config)
        given = "-c", tmp_path / "a.yaml", "--trainer.callbacks+=LearningRateFinder"
        status, _, error = paratime("fit", *given, "--ckpt_path", path)
        assert status == 2 and "leave it out: the checkpoint keeps the rate" in error
        for name in ("last", "best"):  # of which there are none
            given = "-c", tmp_path / "a.yaml", "--ckpt_path", name
            status, _, error = paratime("test", *given)
            assert status == 2 and f"expected an existing checkpoint, got '{name}'" in error
