"""How one network is trained on one task, and how far its accuracy reaches."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tasks import TASKS, Batch, Task
from torch import Generator, nn
from torch.nn import functional
from trackers import Tracker

from paratime.training import AdamW, parameter_groups

LENGTHS = (40, 80, 160, 256)
"""Tokens of a sequence; the first is the length in training."""

BATCH = 64
LEARNED = 0.01
"""Loss at which no further learning rate is tried."""

UNSEEN, EVALUATED = 1_000_000, 256
"""The seed of the sequences on which accuracy is measured, and their number."""


@dataclass(frozen=True)
class Setting:
    """How a task is trained.

    Attributes:
        steps: Optimiser steps of ``BATCH`` fresh sequences each.
        depth: Mixers of the network.
        seeds: Runs of each mixer, unless said otherwise.
    """

    steps: int
    depth: int = 1
    seeds: int = 1


RATES = (1e-2, 3e-3)
"""Peak learning rates, which are tried in turn until a task is learned."""

SETTINGS = {
    "parity": Setting(600, seeds=3),
    "mod3": Setting(1000),
    "s3": Setting(2000),
    "mod5": Setting(2000),
    "a5": Setting(2000),
    "s5": Setting(2000),
    "arithmetic": Setting(2000),
    "hops": Setting(2000, depth=2),
    "recall": Setting(600, depth=2),
    "copying": Setting(600, depth=2),
}


@dataclass(frozen=True)
class Run:
    """A trained network.

    Attributes:
        rate: Its learning rate.
        loss: Mean cross-entropy in nats over the last tenth of the steps.
        model: The network.
    """

    rate: float
    loss: float
    model: nn.Module


def measure(task: str, mixer: str, seed: int) -> dict[str, object]:
    """Train a mixer on a task; return its size, what training took, and its accuracies.

    Sequences are fresh at every step, so that the loss by which a rate is chosen is one on
    sequences that were not trained on.
    """
    began, runs = time.process_time(), list[Run]()
    for rate in RATES:
        runs.append(train(task, mixer, seed, rate))
        if runs[-1].loss <= LEARNED:
            break
    spent, best = time.process_time() - began, min(runs, key=lambda run: run.loss)
    size = sum(p.numel() for p in best.model.parameters())
    of_run = {"parameters": size, "steps": SETTINGS[task].steps, "cpu_s": spent}
    of_run |= {"rate": best.rate, "loss": best.loss}
    return of_run | {f"accuracy@{n}": accuracy(best.model, TASKS[task], n) for n in LENGTHS}


def train(task: str, mixer: str, seed: int, rate: float) -> Run:
    """Train a network from a seed, which draws its weights and its sequences."""
    setting = SETTINGS[task]
    torch.manual_seed(seed)
    model = Tracker(TASKS[task], mixer, depth=setting.depth)
    options = AdamW(lr=rate, weight_decay=0.01)
    optimizer = options.build(model, parameter_groups(model, options.weight_decay))
    losses = []
    for step, batch in enumerate(batches(TASKS[task], setting.steps, seed)):
        for group in optimizer.param_groups:
            group["lr"] = rate * options.rate(step, setting.steps)
        losses.append(descend(model, optimizer, batch))
    last = losses[-setting.steps // 10 :]
    return Run(rate, sum(last) / len(last), model)


def batches(task: Task, steps: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of a run."""
    generator = Generator().manual_seed(seed)
    for _ in range(steps):
        yield task.draw(BATCH, LENGTHS[0], generator)


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Take one step down the cross-entropy of all positions with a target; return it."""
    loss = functional.cross_entropy(model(batch.tokens)[batch.mask], batch.targets[batch.mask])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(model: nn.Module, task: Task, length: int, count: int = EVALUATED) -> float:
    """Return the share of right answers in the second half of unseen sequences.

    At twice the training length and more, all these positions lie beyond those of training.
    """
    batch = task.draw(count, length, Generator().manual_seed(UNSEEN))
    asked = batch.mask & (torch.arange(length) >= length // 2)
    right = model(batch.tokens).argmax(-1) == batch.targets
    return float(right[asked].float().mean())
