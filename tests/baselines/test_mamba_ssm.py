"""The kernels of mamba-ssm, played by plain loops with their arguments and layouts."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from paratime import Mamba, Mamba2
from paratime.baselines import mamba_ssm
from paratime.errors import InputError

CLOSE = 1e-10


def selective_scan_fn(u, delta, A, B, C, D, z, return_last_state):  # noqa: N803 (theirs)
    """Their layouts: u, delta and z (B, D, T), A (D, N), B and C (B, N, T), D (D,)."""
    h, outputs = u.new_zeros(len(u), *A.shape), []
    for t in range(u.shape[2]):
        now = delta[:, :, t, None]
        h = (now * A).exp() * h + now * B[:, None, :, t] * u[:, :, t, None]
        y = (h * C[:, None, :, t]).sum(-1) + D * u[:, :, t]
        outputs.append(y * nn.functional.silu(z[:, :, t]))
    assert return_last_state
    return torch.stack(outputs, dim=-1), h


def mamba_chunk_scan_combined(
    x,
    dt,
    A,
    B,
    C,
    chunk_size,
    initial_states,
    seq_idx,
    return_final_states,  # noqa: N803 (theirs)
):
    """Their layouts: x (B, T, H, P), dt (B, T, H), A (H,), B and C (B, T, G, N), states (P, N)."""
    heads = x.shape[2] // B.shape[2]
    B, C = (v.repeat_interleave(heads, 2) for v in (B, C))  # noqa: N806
    h, outputs = initial_states, []
    for t in range(x.shape[1]):
        if seq_idx is not None and t:
            h = h * (seq_idx[:, t] == seq_idx[:, t - 1]).view(-1, 1, 1, 1)
        now = dt[:, t, :, None, None]
        added = now * x[:, t, :, :, None] * B[:, t, :, None]
        h = (now * A[:, None, None]).exp() * h + added
        outputs.append((h * C[:, t, :, None]).sum(-1))
    assert return_final_states and chunk_size
    return torch.stack(outputs, dim=1), h


LAYERS = {
    "Mamba": lambda **options: Mamba(8, state_size=3, **options),
    "Mamba2": lambda **options: Mamba2(8, state_size=3, head_size=4, groups=2, **options),
}


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    ours, theirs = LAYERS[name](), LAYERS[name](backend="mamba_ssm")
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


@pytest.fixture
def kernels(monkeypatch):
    module = SimpleNamespace(
        selective_scan_fn=selective_scan_fn, mamba_chunk_scan_combined=mamba_chunk_scan_combined
    )
    monkeypatch.setattr(mamba_ssm, "_module", lambda name, x: module)


def gap(one: tuple, other: tuple) -> float:
    parts: list[tuple[Tensor, Tensor]] = [(one[0], other[0]), *zip(one[1], other[1], strict=True)]
    return max(float((a - b).detach().abs().max()) for a, b in parts)


@pytest.mark.parametrize("name", LAYERS)
def test_their_kernels_are_called_as_they_want(name, kernels):
    ours, theirs = twins(name)
    x, lengths = torch.randn(3, 9, 8).double(), torch.tensor([9, 4, 0])
    assert gap(theirs(x), ours(x)) <= CLOSE
    assert gap(theirs(x, lengths=lengths), ours(x, lengths=lengths)) <= CLOSE


def test_resets_and_states_go_where_the_kernel_takes_them(kernels):
    ours, theirs = twins("Mamba2")
    x, reset = torch.randn(2, 9, 8).double(), torch.zeros(2, 9, dtype=torch.bool)
    reset[0, 3] = reset[1, 8] = True
    state = ours(torch.randn(2, 4, 8).double())[1]
    assert gap(theirs(x, state, reset=reset), ours(x, state, reset=reset)) <= CLOSE
    reset[0, 0] = True
    with pytest.raises(InputError, match="reset at the first step with backend mamba_ssm"):
        theirs(x, reset=reset)
    ours, theirs = twins("Mamba")
    with pytest.raises(InputError, match="reset with backend mamba_ssm: expected none, got resets"):
        theirs(x, reset=reset)
    with pytest.raises(InputError, match="h0 with backend mamba_ssm: expected the initial state"):
        theirs(x, ours(x)[1])


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_falls_back_in_silence(name):
    with pytest.raises(InputError, match="x: expected a tensor on CUDA for backend mamba_ssm"):
        LAYERS[name](backend="mamba_ssm")(torch.zeros(1, 2, 8))
