"""A short run of a small model in one process or two; ``model/test_fsdp.py`` compares them."""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaLSTM
from paratime.training.batches.loading import ResumableLoader
from paratime.training.optimizer import AdamW

STEPS = 5


class Note(Callback):
    """Notes losses, norms before they are clipped, and the numbers held; saves at one step."""

    def __init__(self, path: str, stop: int | None) -> None:
        self.losses, self.norms, self.path, self.stop = [], [], path, stop

    def on_before_optimizer_step(self, trainer, task, optimizer) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in task.parameters()])
        self.norms.append(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx) -> None:
        self.losses.append(float(outputs["loss"]))
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        self.numbers = sum(part.numel() for part in parts)
        if trainer.global_step == self.stop:
            trainer.save_checkpoint(self.path)


class Batches:
    """Batches of two rows, of which each of two processes sees one."""

    def __init__(self, processes: int, rank: int) -> None:
        rows = slice(None) if processes == 1 else slice(rank, rank + 1)
        random = torch.Generator().manual_seed(1)
        self.ids = torch.randint(50, (STEPS, 2, 17), generator=random)[:, rows]

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = self.ids[index]
        inputs, targets = ids[:, :-1], ids[:, 1:]
        num_bytes = torch.tensor(targets.numel())
        reset = inputs == 0
        return {"inputs": inputs, "targets": targets, "reset": reset, "num_bytes": num_bytes}


class Given(LanguageTask):
    """Takes its batches once its process is known."""

    def train_dataloader(self) -> ResumableLoader:
        batches = Batches(self.trainer.world_size, self.trainer.global_rank)
        return ResumableLoader(batches, batch_size=None)

    val_dataloader = train_dataloader


def make_task(tied: bool) -> LanguageTask:
    """Return a model in float64 with a block that is computed anew, and bounded weights."""
    seed_everything(0)
    encoder = Encoder(16, 2, partial(ParaLSTM, heads=2), mlp_size=16, recompute=1)
    return Given(
        encoder, TokenSpec(50), tied=tied, optimizer=AdamW(lr=1e-2, max_recurrent=0.3)
    ).double()


def make_trainer(folder: str, processes: int, note: Note) -> Trainer:
    """Return a trainer that clips gradients, with a model in as many parts as processes."""
    sharded = ModelParallelStrategy(data_parallel_size=processes, tensor_parallel_size=1)
    quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    return Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=sharded if processes > 1 else "auto",
        max_steps=STEPS,
        gradient_clip_val=0.5,
        callbacks=[note],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
        **dict.fromkeys(quiet, False),
    )


def run(folder: str, processes: int, tied: bool, stop: int | None = None) -> dict[str, object]:
    """Train, twice if there is a step to go on from the second time, and return what was noted."""
    note = Note(str(Path(folder, "half.ckpt")), stop)
    trainer = make_trainer(folder, processes, note)
    trainer.fit(make_task(tied))
    if stop is not None:
        del note.losses[stop:], note.norms[stop:]
        trainer = make_trainer(folder, processes, note)
        trainer.fit(make_task(tied), ckpt_path=note.path)
    report = {"losses": note.losses, "norms": note.norms, "numbers": note.numbers}
    report["score"] = float(trainer.callback_metrics["val/loss"])
    Path(folder, f"{trainer.global_rank}.json").write_text(json.dumps(report))
    return report


if __name__ == "__main__":
    run(sys.argv[1], 2, sys.argv[2] == "tied", stop=3)
