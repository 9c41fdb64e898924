"""What a model costs before it exists."""

import math

import pytest
import torch
from language.sizes import VOCABULARY, of_config, small
from torch import Tensor

from paratime import ParaGRU, ParaLSTM
from paratime.baselines.attention import Attention
from paratime.baselines.mamba2 import Mamba2
from paratime.language.model.footprint import (
    activations,
    memory_per_gpu,
    on_meta,
    parameters_by_part,
)
from paratime.language.model.task import LanguageTask

NOMINAL = {"400m": 405.7e6, "1b": 1415e6, "2.9b": 2902e6, "7b": 6757e6}
"""What the architecture has; the paper rounds it in its names, that of 1B most freely."""


CELLS = pytest.mark.parametrize("cell", (ParaGRU, ParaLSTM), ids=lambda c: c.__name__)


@CELLS
@pytest.mark.parametrize("name", NOMINAL)
def test_the_sizes_of_the_paper(name, cell):
    build, width, depth, heads = of_config(name, cell)
    inside = 256 * math.ceil(8 * width / 3 / 256)
    recurrent = {ParaGRU: 3, ParaLSTM: 5}[cell] * width
    mixer = 3 * width**2 + 5 * width + width  # projections, convolution of 4 taps, its norm
    mixer += 3 * width**2 // heads + 3 * width + recurrent
    block = mixer + 3 * width * inside + 4 * width  # two norms and two scales
    expected = depth * block + width + 2 * VOCABULARY * width
    parts = parameters_by_part(on_meta(build))
    assert sum(parts.values()) == expected == pytest.approx(NOMINAL[name], rel=5e-4)
    assert parts["mixers"] == depth * mixer
    assert parts["embedding"] == parts["head"] == VOCABULARY * width


def test_tied_weights_count_once():
    tied = parameters_by_part(on_meta(small(tied=True)))
    untied = parameters_by_part(on_meta(small()))
    assert tied["head"] == 0 and untied["head"] == 6400
    assert sum(tied.values()) == sum(untied.values()) - 6400


def really_kept(task: LanguageTask, tokens: int) -> int:
    """Return the bytes that a real forward pass keeps."""
    held = {}

    def note(x: Tensor) -> Tensor:
        held[x.untyped_storage().data_ptr()] = x
        return x

    ids = torch.zeros(1, tokens, dtype=torch.long)
    batch = {"inputs": ids, "targets": ids, "reset": None}
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda x: x)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        kept = task.losses(batch)
    assert kept is not None
    return sum(x.untyped_storage().nbytes() for x in held.values())


@pytest.mark.parametrize("mixer", (ParaGRU, ParaLSTM, Mamba2, Attention), ids=lambda m: m.__name__)
def test_activations_are_those_of_a_real_run(mixer):
    build = small(mixer)
    estimate, task = activations(build), build()
    truth = (really_kept(task, 512) - really_kept(task, 256)) / 256
    assert estimate.kept == pytest.approx(truth, rel=0.02)
    assert estimate.recomputed < 0.6 * estimate.kept


def test_recomputed_activations_are_one_block_and_the_inputs_of_all():
    few, many = activations(small(depth=2)), activations(small(depth=5))
    assert many.recomputed - few.recomputed == 3 * 64 * 4
    assert many.kept - few.kept > 10 * 3 * 64 * 4


def test_parts_of_all_gpus_make_the_whole():
    parameters = sum(parameters_by_part(on_meta(small(vocab_size=128))).values())
    for gpus in (2, 8, 32):
        assert memory_per_gpu(small(vocab_size=128), gpus).states == 16 * parameters / gpus


def test_a_model_of_7b_is_sharded_evenly_without_memory():
    build, *_ = of_config("7b", ParaLSTM)
    total = 16 * sum(parameters_by_part(on_meta(build)).values())
    assert memory_per_gpu(build, 64).states == total / 64
