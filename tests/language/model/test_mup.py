"""Rates and initial weights at other widths."""

import pytest
import torch
from language.runs import batch_of, make_task

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.model.mup import WidthTransfer
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU
from paratime.training.optimizer import AdamW


def sizes(width: int, transfer: WidthTransfer | None, steps: int = 4) -> torch.Tensor:
    """Return the mean size of what a few steps changed: the residual stream and the logits."""
    torch.manual_seed(0)
    encoder = Encoder(width, 1, ParaGRU, mlp_size=2 * width)
    task = LanguageTask(encoder, TokenSpec(64), transfer=transfer, optimizer=AdamW(lr=1e-2))
    ids = torch.randint(64, (4, 17))
    optimizer = task.optimizer.build(task, task.parameter_groups())
    batch, before = batch_of(ids), task(ids)[0].detach()
    for _ in range(steps):
        optimizer.zero_grad()
        task.losses(batch)[0].backward()
        optimizer.step()
    with torch.no_grad():
        stream = task.encoder.blocks[0](task.embedding(ids))[0]
        return torch.stack([stream.abs().mean(), (task(ids)[0] - before).abs().mean()])


def test_activations_keep_their_size_over_widths_by_transfer_alone():
    """The coordinate check of muP: four steps at the same nominal rate, at widths 64 to 512."""
    transferred = torch.stack([sizes(w, WidthTransfer(64)) for w in (64, 128, 256, 512)])
    standard = torch.stack([sizes(w, None) for w in (64, 128, 256, 512)])
    assert torch.equal(transferred[0], standard[0])
    spread = transferred.amax(0) / transferred.amin(0)
    assert (spread < 2).all(), transferred
    assert (standard[-1] / standard[0] > 3).any(), standard


def test_tied_weights_have_no_width_transfer():
    with pytest.raises(InputError, match="a head of its own"):
        make_task(tied=True, transfer=WidthTransfer(8))
