"""Mamba: a linear recurrence whose coefficients are chosen by the input."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.baselines import mamba_ssm, ssm
from paratime.cells.projection import check_width
from paratime.errors import check_at_least
from paratime.layers.mixer import Mixer, check_sequence, mask_padding, step_once
from paratime.ops.operator import precise_dtype, without_autocast
from paratime.ops.precision import precise
from paratime.ops.selective import selective_scan

MambaState = tuple[Tensor, Tensor]
"""The convolution's last inputs, (B, K - 1, E), and the state of the scan, (B, N, E)."""


class Mamba(Mixer):
    """The mixer of Mamba (arXiv 2312.00752), S6 after a convolution, gated.

        v, z = W_in x,  v = silu(conv(v)),  (dt, b, c) = W_x v,  dt = softplus(W_dt dt + bias),
        h[t] = exp(-dt[t] exp(A)) h[t-1] + dt[t] b[t] v[t],  y = W_out ((c h + D v) silu(z)),

    with N numbers of state h on each of E = ``expand`` input_size channels.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        state_size: N.
        expand: Channels inside, in widths of the input.
        kernel_size: Taps of the convolution.
        dt_rank: Rank of the projection to sizes of steps; a sixteenth of ``input_size``, rounded
            up, by default.
        backend: Whose kernels run the scan; ``mamba_ssm`` is for CUDA, see ``mamba_ssm.py``.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes below 1, or an unknown backend.
    """

    complete = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        state_size: int = 16,
        expand: int = 2,
        kernel_size: int = 4,
        dt_rank: int | None = None,
        backend: mamba_ssm.Backend = "paratime",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inner, rank = expand * input_size, dt_rank
        if rank is None:
            rank = math.ceil(input_size / 16)
        self.input_size = input_size
        self.hidden_size = input_size if hidden_size is None else hidden_size
        check_at_least(1, input_size=input_size, hidden_size=self.hidden_size, dt_rank=rank)
        check_at_least(1, state_size=state_size, expand=expand, kernel_size=kernel_size)
        self.state_size, self.expand, self.kernel_size = state_size, expand, kernel_size
        self.dt_rank, self.backend = rank, backend
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.sizes = rank, state_size, state_size
        self.scan = mamba_ssm.choose_scan(backend, selective_scan, mamba_ssm.selective_scan_cuda)
        self.shapes = {"memory": (kernel_size - 1, inner), "state": (state_size, inner)}
        self.in_proj = nn.Linear(input_size, 2 * inner, bias=False, **factory)
        self.conv1d = ssm.Conv1d(inner, kernel_size, **factory)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False, **factory)
        self.dt_proj = nn.Linear(rank, inner, **factory)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        self.dt_proj.bias = nn.Parameter(ssm.initial_bias(self.dt_proj.bias.detach()))
        like = self.dt_proj.bias.detach()
        rates = torch.arange(1, state_size + 1, device=device, dtype=precise_dtype(like))
        self.A_log = nn.Parameter(rates.log().repeat(inner, 1).to(like.dtype))
        self.D = nn.Parameter(torch.ones(inner, **factory))
        self.out_proj = nn.Linear(inner, self.hidden_size, bias=False, **factory)

    def forward(
        self,
        x: Tensor,
        h0: MambaState | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, MambaState]:
        """Map x (B, T, input_size) to (B, T, hidden_size) and the state; see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        check_width(x, self.input_size)
        lengths = None if lengths is None else lengths.long()
        value, gate = self.in_proj(x).chunk(2, dim=-1)
        memory, state = ssm.start(value, h0, self.shapes)
        value, memory = self.conv1d(value, memory, reset, lengths)
        dt, b, c = self.x_proj(value).split(self.sizes, dim=-1)
        dt = functional.linear(dt, self.dt_proj.weight)
        with without_autocast(x.device):
            exact, a = precise(value), -precise(self.A_log).exp().T
            dt, b, c = ssm.softplus(dt, self.dt_proj.bias), precise(b), precise(c)
            skip, gate = precise(self.D), precise(gate)
            y, state = self.scan(exact, dt, a, b, c, skip, gate, state, reset, lengths)
        y = self.out_proj(y.to(value.dtype))
        return mask_padding(y, lengths), (memory, state)

    def step(
        self, x: Tensor, state: MambaState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Map one step x (B, input_size) to (B, hidden_size) and the state."""
        return step_once(self, x, state, reset)
