"""One run of a comparison: a mixer is trained on a domain, measured, and the result is written."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paratime.compare.config import KINDS, digest
from paratime.compare.cost import machine, peak_memory_mib, step_ms
from paratime.compare.kind import Build
from paratime.compare.recording import Curves, Observer
from paratime.compare.result import Key, Result
from paratime.errors import InputError
from paratime.layers.encoder import Encoder

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Job:
    """One run, as a process of its own can do it.

    Attributes:
        key: Which run.
        out: Folder of the comparison.
        options: Of ``paratime fit``.
        settings: What they come to, for the report.
        digest: Of the config, when the comparison began.
        parameters: Number of parameters that the model should have.
        threads: Threads of the run.
    """

    key: Key
    out: Path
    options: list[str]
    settings: dict[str, Any]
    digest: str
    parameters: int
    threads: int


def work(job: Job, build: Build, connection: Connection) -> None:
    """Do a job in a process of its own, and write its result.

    The process ends with the one that started it; what it prints goes into its log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    os.register_at_fork(after_in_child=connection.close)  # what a mixer starts may outlive the run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with job.key.log(job.out).open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    result = measure(job, build, lambda step, loss: connection.send((step, loss)))
    result.save(job.key.path(job.out))


def measure(job: Job, build: Build, progress: Progress) -> Result:
    """Train and evaluate the model of a job.

    Args:
        job: The job.
        build: Builds trainer, task and data.
        progress: Is called with the steps done and the last loss.

    Raises:
        InputError: The model is not of the size that it should have, the config is not what it was,
            or training ended before its last step.
    """
    torch.set_num_threads(job.threads)
    resting, kind = peak_memory_mib(), KINDS[job.key.domain]
    cli = build([*job.options, *_logger(job)])
    check_config(job)
    if (parameters := count(cli.model)) != job.parameters:
        remedy = "build mixers of a size that depends on their width alone"
        raise InputError("parameters", f"{job.parameters:,}", f"{parameters:,}", remedy)
    curves = Curves()
    observer = Observer(kind, curves, progress)
    cli.trainer.loggers = [*cli.trainer.loggers, curves]
    cli.trainer.callbacks.append(observer)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, cli.datamodule)
    if (done := cli.trainer.global_step) != (steps := job.settings["steps"]):
        remedy = "leave out what ends training at another step, such as trainer.max_epochs"
        raise InputError("steps", f"{steps:,}", f"{done:,}", remedy)
    quality, pictures = kind.evaluate(cli)
    settings = job.settings | {"batch_size": cli.datamodule.batch_size}
    cost = {
        "units_per_s": observer.units_per_s,
        "train_seconds": observer.seconds,
        "peak_memory_mib": observer.peak_memory_mib - resting,
        "ms_per_generated_step": step_ms(encoder_of(cli.model)),
        "machine": machine(),
        "load": os.getloadavg()[0],
    }
    points = dict(curves.points)
    return Result(*job.key, parameters, settings, quality, points, pictures, cost)


def check_config(job: Job) -> None:
    """Refuse a config that was edited since the comparison began.

    Raises:
        InputError: It was.
    """
    path = job.settings["config"]
    if digest(path) != job.digest:
        expected, remedy = "what it was when the comparison began", "undo the change"
        raise InputError(f"config {path}", expected, "another text", remedy)


def encoder_of(task: nn.Module) -> Encoder:
    """Return the encoder of a task."""
    return next(module for module in task.modules() if isinstance(module, Encoder))


def count(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in module.parameters())


def _logger(job: Job) -> list[str]:
    """Return the options of a run's TensorBoard; what an earlier attempt has left there goes."""
    folder, place = job.out / "tensorboard", job.key.place
    shutil.rmtree(folder / place, ignore_errors=True)
    where = {"save_dir": str(folder), "name": str(place.parent), "version": place.name}
    options = where | {"default_hp_metric": False}
    described = {"class_path": "TensorBoardLogger", "init_args": options}
    return ["--trainer.logger", json.dumps(described)]


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, then end this one, too."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
