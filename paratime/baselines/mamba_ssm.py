"""The CUDA kernels of mamba-ssm under the signatures of our own scans; chosen by name only.

They run on CUDA, without resets (Mamba) or with resets as indices of sequences (Mamba-2). What they
cannot do is refused, never computed in another way.
"""

import importlib
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from paratime.errors import InputError

Backend = Literal["paratime", "mamba_ssm"]
"""Whose kernels run a scan."""

Scan = Callable[..., tuple[Tensor, Tensor]]

CHUNK = 256


def choose_scan(backend: Backend, paratime: Scan, theirs: Scan) -> Scan:
    """Return the scan of a backend; refuse any other name."""
    scans = dict(zip(get_args(Backend), (paratime, theirs), strict=True))
    if backend not in scans:
        raise InputError("backend", f"one of {', '.join(scans)}", repr(backend), "correct it")
    return scans[backend]


def selective_scan_cuda(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor,
    gate: Tensor,
    h0: Tensor,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``paratime.ops.selective.selective_scan`` from a state of zeros, without resets.

    Raises:
        InputError: mamba-ssm is missing, tensors are elsewhere, or its kernel cannot do it.
    """
    module = _module("mamba_ssm.ops.selective_scan_interface", x)
    if reset is not None:
        raise _refusal("reset", "none", "resets")
    if h0.any():
        raise _refusal("h0", "the initial state", "another")
    if lengths is not None:
        valid = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(-1)
        dt = dt.where(valid.unsqueeze(-1), 0)
    first = (v.mT.contiguous() for v in (x, dt))
    last = (v.mT.contiguous() for v in (a, b, c))
    gate = gate.mT.contiguous()
    y, state = module.selective_scan_fn(*first, *last, D=skip, z=gate, return_last_state=True)
    return y.mT, state.mT


def ssd_triton(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    log_decay: Tensor,
    skip: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``paratime.ops.ssd.ssd``; resets become indices of sequences.

    Raises:
        InputError: mamba-ssm is missing, tensors are elsewhere, or its kernel cannot do it.
    """
    module = _module("mamba_ssm.ops.triton.ssd_combined", value)
    if value.shape[2] != 1:
        raise _refusal("rank", "1", str(value.shape[2]))
    if reset is not None and reset[:, 0].any():
        raise _refusal("reset at the first step", "h0=None instead", "a reset")
    ones = torch.ones_like(log_decay)
    y, last = module.mamba_chunk_scan_combined(
        value.squeeze(2) * (weight / _size(log_decay)).unsqueeze(-1),
        _size(log_decay),
        -ones[0, 0],
        key.squeeze(2),
        query.squeeze(2),
        CHUNK,
        initial_states=state.mT.contiguous(),
        seq_idx=None if reset is None else reset.cumsum(1).int(),
        return_final_states=True,
    )
    return torch.addcmul(y.unsqueeze(2), skip.unsqueeze(-1), value), last.mT


def _size(log_decay: Tensor) -> Tensor:
    """Return the size of a step that decays by as much where a is -1: never 0, to divide by."""
    return (-log_decay).clamp(min=1e-12)


def _module(name: str, x: Tensor) -> Any:
    if x.device.type != "cuda":
        raise InputError(
            "x",
            expected="a tensor on CUDA for backend mamba_ssm",
            got=x.device.type,
            remedy="move it to a GPU, or choose backend paratime",
        )
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "backend",
            expected="the package mamba-ssm",
            got=str(error),
            remedy="pip install mamba-ssm, or choose backend paratime",
        ) from None


def _refusal(what: str, expected: str, got: str) -> InputError:
    return InputError(f"{what} with backend mamba_ssm", expected, got, "choose backend paratime")
