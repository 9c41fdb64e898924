"""What Lightning trains with.

- ``Task`` is the base of all tasks, ``DataModule`` of all data; ``DataSpec`` holds what a task must
  know of its data.
- ``AdamW`` with a ``Decay``, ``Cosine`` or ``StableDecay``; ``parameter_groups`` and
  ``recurrent_weights`` select its parameters.
- ``ResumableLoader`` loads windows of a ``PackedStream`` in the order of an ``EpochSampler``:
  ``ShuffledSampler`` or ``ContiguousSampler``.
- Callbacks: ``CompileBlocks``, ``SavePredictions``, ``Throughput`` and ``TrainingProgress``.
- ``read_checkpoint`` and ``restore_task`` read checkpoints, ``damage_of`` says what is wrong with
  one; ``peak_flops`` returns a device's peak; ``quieten`` drops Lightning's advertisements.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.io.saved.checkpoint import read_checkpoint as read_checkpoint
    from paratime.training.base import DataModule as DataModule
    from paratime.training.base import Task as Task
    from paratime.training.batches.loading import ResumableLoader as ResumableLoader
    from paratime.training.batches.packing import PackedStream as PackedStream
    from paratime.training.batches.samplers import ContiguousSampler as ContiguousSampler
    from paratime.training.batches.samplers import EpochSampler as EpochSampler
    from paratime.training.batches.samplers import ShuffledSampler as ShuffledSampler
    from paratime.training.checkpoints.folders import damage_of as damage_of
    from paratime.training.checkpoints.restoring import restore_task as restore_task
    from paratime.training.compile import CompileBlocks as CompileBlocks
    from paratime.training.optimizer import AdamW as AdamW
    from paratime.training.optimizer import Cosine as Cosine
    from paratime.training.optimizer import Decay as Decay
    from paratime.training.optimizer import StableDecay as StableDecay
    from paratime.training.optimizer import parameter_groups as parameter_groups
    from paratime.training.optimizer import recurrent_weights as recurrent_weights
    from paratime.training.predictions import SavePredictions as SavePredictions
    from paratime.training.progress import TrainingProgress as TrainingProgress
    from paratime.training.quiet import quieten as quieten
    from paratime.training.spec import DataSpec as DataSpec
    from paratime.training.throughput import Throughput as Throughput
    from paratime.training.throughput import peak_flops as peak_flops

__getattr__, __dir__, __all__ = lazy.attach(__name__)
