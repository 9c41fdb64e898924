"""Runs that go on, and rates that a run finds for itself."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from language.models import train
from language.runs import make_data, make_task, make_trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateFinder
from torch.utils.data.distributed import DistributedSampler

from paratime.language import Document, InMemory
from paratime.language.data.datamodule import TokenData
from paratime.language.model.task import LanguageTask
from paratime.training.optimizer import AdamW

DOCUMENTS = [Document(f"d{i}", f"text {i} " + "abcdefghij"[i % 10] * (i % 37)) for i in range(60)]


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
