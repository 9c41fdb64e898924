"""A step as a program: the same logits, for other numbers of sequences, and without the model."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from language.models import make_task, train

from paratime.baselines.attention import Attention
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError
from paratime.language.export.safetensors import load_task
from paratime.language.export.torch_export import export_step, load_step
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.testing import TOLERANCE

MIXERS = {
    "ParaGRU": ParaGRU,
    "ParaLSTM": ParaLSTM,
    "Mamba2": partial(Mamba2, state_size=4),
    "Attention": Attention,
}


@torch.no_grad()
@pytest.mark.parametrize("mixer", MIXERS.values(), ids=MIXERS)
def test_a_program_steps_as_the_model(mixer, tmp_path):
    task = make_task(mixer)
    export_step(task, tmp_path)
    program = load_step(tmp_path)
    for batch in (1, 3, 2):
        state = ours = None
        for token in torch.randint(257, (8, batch)):
            expected, ours = task.step(token, ours)
            logits, state = program.step(token, state)
            gap = (logits - expected).abs().max()
            assert gap <= TOLERANCE[torch.float32].value * (1 + expected.abs().max())


def test_the_command_writes_one_that_runs_elsewhere(tmp_path, paratime):
    checkpoint, folder = train(tmp_path), tmp_path / "exported"
    given = "--ckpt_path", checkpoint, "--out", folder, "--step", "true"
    assert paratime("language", "export", *given)[0] == 0
    code = (
        "import torch, sys\n"
        f"step = torch.export.load({str(folder / 'step.pt2')!r}).module()\n"
        f"state = torch.load({str(folder / 'state.pt')!r}, weights_only=True)\n"
        "logits, state = step(torch.tensor([1]), state)\n"
        "logits, state = step(torch.tensor([2]), state)\n"
        "assert not [m for m in sys.modules if m.startswith('paratime')]\n"
        "print(logits.argmax().item(), logits.logsumexp(-1).item())"
    )
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean
    )
    with torch.no_grad():
        expected = load_task(checkpoint)(torch.tensor([[1, 2]]))[0][0, -1]
    best, total = done.stdout.split()
    assert int(best) == expected.argmax()
    assert float(total) == pytest.approx(float(expected.logsumexp(-1)), rel=1e-5)


def test_what_cannot_be_followed_or_is_not_there(tmp_path):
    class Deciding(ParaGRU):
        def step(self, x, state=None, reset=None):
            return super().step(x if x.sum() > 0 else -x, state, reset)

    assert issubclass(Deciding, Recurrent)
    with pytest.raises(InputError, match=r"step: expected code that torch\.export follows"):
        export_step(make_task(Deciding), tmp_path)
    with pytest.raises(InputError, match=r"step\.pt2: expected a file, got none"):
        load_step(tmp_path)
