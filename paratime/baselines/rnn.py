"""torch's own recurrent layers, with resets, lengths and an explicit state."""

import torch
from torch import Tensor, nn

from paratime.baselines.pieces import States, run_in_pieces
from paratime.cells.projection import check_width
from paratime.errors import InputError
from paratime.layers.mixer import Mixer, State, check_sequence, check_state, check_step, check_tuple
from paratime.ops.operator import is_open, precise_dtype
from paratime.solvers.base import restart


class TorchRNN(Mixer):
    """One of torch's recurrent layers: the kernels are torch's, the contract is ``Mixer``'s.

    Sequences with resets or lengths run in pieces, see ``pieces.py``. As elsewhere the state is
    float32, or float64 for float64 inputs; torch rounds it to the inputs' precision at every step.

    Args:
        rnn: The layer, batch first, one direction, one layer.
    """

    def __init__(self, rnn: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(
        self,
        x: Tensor,
        h0: State = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Map x (B, T, input_size) to (B, T, hidden_size) and the final state."""
        check_sequence(x, reset, lengths)
        self._check_export(x, reset, lengths)
        start = self._start(x, h0)
        if (reset is None and lengths is None) or x.is_meta:
            y, end = self._run(x, start)
        else:
            run = run_in_pieces
            if torch.compiler.is_compiling():  # a graph cannot hold sizes that the resets decide
                run = torch.compiler.disable(run_in_pieces)
            y, end = run(self._run, x, start, reset, lengths)
        return y, self._joined(end)

    def step(
        self, x: Tensor, state: State = None, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Map one step x (B, input_size) to (B, hidden_size) and the state."""
        check_step(x, reset)
        start = tuple(restart(part, reset) for part in self._start(x, state))
        y, end = self._run(x.unsqueeze(1), start)
        return y.squeeze(1), self._joined(end)

    def _check_export(self, x: Tensor, reset: Tensor | None, lengths: Tensor | None) -> None:
        """Refuse a program that torch.export cannot make: it unrolls torch's layers over time."""
        masked = reset is not None or lengths is not None
        if torch.compiler.is_exporting() and (masked or is_open(x.shape[1])):
            raise InputError(
                f"torch.export of {type(self).__name__}",
                expected="a fixed number of steps, without reset and lengths",
                got="reset or lengths" if masked else "a dynamic number of steps",
                remedy="export step, or a mixer of paratime",
            )

    def _run(self, x: Tensor, start: States) -> tuple[Tensor, States]:
        before = tuple(part.to(x.dtype).unsqueeze(0) for part in start)
        y, after = self.rnn(x, self._joined(before))
        ends = after if self._is_pair() else (after,)
        return y, tuple(end[0].to(part.dtype) for end, part in zip(ends, start, strict=True))

    def _start(self, x: Tensor, h0: State) -> States:
        """Return the parts of the state before the first step, zeros for None."""
        check_width(x, self.rnn.input_size)
        dtype = precise_dtype(x)
        shape, count = (x.shape[0], self.rnn.hidden_size), 2 if self._is_pair() else 1
        if h0 is None:
            return (x.new_zeros(shape, dtype=dtype),) * count
        parts, names = (h0, ("h0[0]", "h0[1]")) if self._is_pair() else ((h0,), ("h0",))
        check_tuple("h0", parts, ("h", "c")[:count])
        for name, part in zip(names, parts, strict=True):
            check_state(name, part, shape, like=x)
        return tuple(part.to(dtype) for part in parts)

    def _joined(self, parts: States) -> State:
        return parts if self._is_pair() else parts[0]

    def _is_pair(self) -> bool:
        return self.rnn.mode == "LSTM"


class TorchGRU(TorchRNN):
    """torch.nn.GRU (arXiv 1406.1078): a dense recurrent matrix, so that time is not parallel.

        r, z = sigmoid(W x + U h),  n = tanh(W_n x + b_n + r * (U_n h + c_n)),
        h' = (1 - z) * n + z * h.

    The state is h, (B, hidden_size).

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        super().__init__(nn.GRU(input_size, size, batch_first=True, device=device, dtype=dtype))
        self.input_size, self.hidden_size = input_size, size


class TorchLSTM(TorchRNN):
    """torch.nn.LSTM (Hochreiter and Schmidhuber 1997): dense, so that time is not parallel.

        i, f, o = sigmoid(W x + U h + b),  g = tanh(W_g x + U_g h + b_g),
        c' = f * c + i * g,  h' = o * tanh(c').

    The state is (h, c), (B, hidden_size) each.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        super().__init__(nn.LSTM(input_size, size, batch_first=True, device=device, dtype=dtype))
        self.input_size, self.hidden_size = input_size, size
