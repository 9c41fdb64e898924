"""What a model costs before it exists."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from paratime import ParaGRU, ParaLSTM
from paratime.baselines.attention import Attention
from paratime.baselines.mamba2 import Mamba2
from paratime.language.commands.size import table
from paratime.language.model.footprint import activations, on_meta, parameters_by_part, part_of
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "language"
VOCABULARY = 50432
NOMINAL = {"400m": 405.7e6, "1b": 1415e6, "2.9b": 2902e6, "7b": 6757e6}
"""What the architecture has; the paper rounds it in its names, that of 1B most freely."""

CELLS = pytest.mark.parametrize("cell", (ParaGRU, ParaLSTM), ids=lambda c: c.__name__)


def of_config(name: str, cell: type):
    """Return what makes a config's model, with one cell or the other."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    options = config["model"]["init_args"]["encoder"]
    heads = options.pop("mixer")["init_args"]["heads"]

    def build() -> LanguageTask:
        encoder = Encoder(**options, mixer=lambda width: cell(width, heads=heads))
        return LanguageTask(encoder, VOCABULARY)

    return build, options["width"], options["depth"], heads


def small(mixer=ParaGRU, width=64, depth=3, vocab_size=100, **options):
    def build() -> LanguageTask:
        return LanguageTask(Encoder(width, depth, mixer, mlp_size=96), vocab_size, **options)

    return build


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
        assert part_of(small(vocab_size=128), gpus).states == 16 * parameters / gpus


def test_a_model_of_7b_is_sharded_evenly_without_memory():
    build, *_ = of_config("7b", ParaLSTM)
    total = 16 * sum(parameters_by_part(on_meta(build)).values())
    assert part_of(build, 64).states == total / 64


def test_the_command_prints_what_the_config_and_the_options_say(paratime):
    options = ("--model.encoder.mixer", "ParaLSTM", "--model.vocab_size", "50432")
    status, out, err = paratime("language", "size", "-c", CONFIGS / "400m.yaml", *options)
    assert status == 0, err
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    full = sum(parameters_by_part(on_meta(of_config("400m", ParaLSTM)[0])).values())
    assert rows["total"] == [f"{full:,}"]
    assert float(rows["weights"][0]) == pytest.approx(4 * full / 2**30, abs=1e-3)
    assert float(rows["8"][0]) == pytest.approx(2 * full / 2**30, rel=1e-2)
    assert "2048 tokens" in out


def test_the_vocabulary_is_that_of_the_data(paratime):
    status, out, err = paratime("language", "size", "-c", CONFIGS / "quickstart.yaml")
    assert status == 0, err
    assert "at 1,024 token ids" in out and f"{1024 * 192:,}" in out


def test_without_data_the_vocabulary_is_asked_for(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = paratime("language", "size", "-c", CONFIGS / "7b.yaml")
    assert status == 2 and "without data, give --model.vocab_size" in err


def test_a_config_of_another_slice(paratime):
    path = CONFIGS.parent / "world" / "tmaze_memory.yaml"
    status, _, err = paratime("language", "size", "-c", path)
    assert status == 2 and err.startswith("paratime: ") and len(err.splitlines()) == 1


def test_lines_are_aligned():
    lines = [line for line in table(small(), 32).splitlines() if line.startswith("  ")]
    assert {len(line) for line in lines if len(line) < 60} == {40}
