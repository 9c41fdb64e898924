"""Whatever lies beyond the lengths of sequences, it reaches no output and no gradient."""

import pytest
import torch
from cases import MIXERS, WIDTH, ElmanMixer

from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.layers.stacked import Stacked
from paratime.layers.state import leaves
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential

MORE = {
    "Elman by Sequential": lambda: ParaGRU(WIDTH, solver=Sequential()),
    "LSTM by Newton": lambda: ParaLSTM(WIDTH, solver=Newton(4)),
    "two directions": lambda: Stacked(ParaGRU, WIDTH, num_layers=2, bidirectional=True),
    "Encoder of a user's layer": lambda: Encoder(WIDTH, 2, ElmanMixer, mlp_size=16),
}


@pytest.mark.parametrize("value", (torch.nan, torch.inf, -torch.inf, 1e30))
@pytest.mark.parametrize("name", MIXERS | MORE)
def test_padding_changes_nothing(name, value):
    mixer, lengths = (MIXERS | MORE)[name](), torch.tensor([9, 4, 0])
    clean = torch.randn(3, 9, WIDTH)
    beyond = torch.arange(9) >= lengths[:, None]
    runs = []
    for padding in (0.0, value):
        x = clean.masked_fill(beyond[..., None], padding).requires_grad_()
        y, state = mixer(x, lengths=lengths)
        loss = y.square().sum() + sum(part.square().sum() for part in leaves(state))
        wanted = [x, *(p for p in mixer.parameters() if p.requires_grad)]
        grads = torch.autograd.grad(loss, wanted, allow_unused=True)
        runs.append([y, *leaves(state), *(g for g in grads if g is not None)])
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("name", [x for x in MIXERS if not x.startswith("Attention")])
def test_a_reset_at_a_step_forgets_any_state(name):
    """As a stream does that continues after values that are not finite.

    Attention reads its cache by weights of zero, which its docstring says.
    """
    mixer, x = MIXERS[name](), torch.randn(2, 5, WIDTH)
    with torch.no_grad():
        state = mixer(x * torch.nan)[1]
        now = torch.tensor([True, True])
        fresh, kept = mixer.step(x[:, 0]), mixer.step(x[:, 0], state, now)
        for a, b in zip([fresh[0], *leaves(fresh[1])], [kept[0], *leaves(kept[1])], strict=True):
            assert torch.allclose(a, b, atol=1e-6), "step"
        reset = torch.zeros(2, 5, dtype=torch.bool)
        reset[:, 0] = True
        assert torch.allclose(mixer(x)[0], mixer(x, state, reset=reset)[0], atol=1e-6), "forward"
