"""One run of a comparison: a mixer is trained on a domain, measured, and the result is written."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paratime.compare.config import digest
from paratime.compare.domains import DOMAINS, Build
from paratime.compare.recorder import Curves, Observer, machine, peak_memory_mib, step_ms
from paratime.compare.results import Key, Result
from paratime.errors import InputError
from paratime.io.processes import end_with_parent
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import count_parameters

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Job:
    """One run, for a process of its own.

    Attributes:
        key: The key of the run.
        out: Folder of the comparison.
        options: Of ``paratime fit``.
        settings: The main ones, for the report.
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

    The process ends with its parent; its output goes into its log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.register_at_fork(after_in_child=connection.close)  # what a mixer starts may outlive the run
    end_with_parent()
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
        progress: Called with the number of steps done and the last loss.

    Raises:
        InputError: The model has another size than it should, the config has changed, or training
            ended before its last step.
    """
    torch.set_num_threads(job.threads)
    resting, domain = peak_memory_mib(), DOMAINS[job.key.domain]
    cli = build([*job.options, *_logger(job)])
    check_config(job)
    cli.model.specify(cli.datamodule.spec)
    if (parameters := count_parameters(cli.model)) != job.parameters:
        raise InputError(
            "parameters",
            expected=f"{job.parameters:,}",
            got=f"{parameters:,}",
            remedy="build mixers of a size that depends on their width alone",
        )
    curves = Curves()
    observer = Observer(domain, curves, progress)
    cli.trainer.loggers = [*cli.trainer.loggers, curves]
    cli.trainer.callbacks.append(observer)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, cli.datamodule)
    if (done := cli.trainer.global_step) != (steps := job.settings["steps"]):
        raise InputError(
            "steps",
            expected=f"{steps:,}",
            got=f"{done:,}",
            remedy="leave out what ends training at another step, such as trainer.max_epochs",
        )
    quality, pictures = domain.evaluate(cli)
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
        InputError: The config was edited.
    """
    path = job.settings["config"]
    if digest(path) != job.digest:
        raise InputError(
            f"config {path}",
            expected="what it was when the comparison began",
            got="another text",
            remedy="undo the change",
        )


def encoder_of(task: nn.Module) -> Encoder:
    """Return the encoder of a task."""
    return next(module for module in task.modules() if isinstance(module, Encoder))


def _logger(job: Job) -> list[str]:
    """Return the options of a run's TensorBoard, and remove the logs of an earlier attempt."""
    folder, place = job.out / "tensorboard", job.key.place
    shutil.rmtree(folder / place, ignore_errors=True)
    where = {"save_dir": str(folder), "name": str(place.parent), "version": place.name}
    options = where | {"default_hp_metric": False}
    described = {"class_path": "TensorBoardLogger", "init_args": options}
    return ["--trainer.logger", json.dumps(described)]
