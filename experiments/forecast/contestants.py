"""The models of the comparison: each trains on series and returns a function that forecasts."""

import tempfile
from collections.abc import Callable
from functools import partial

import torch
from gluonts.torch.model.deepar import DeepAREstimator
from torch import Tensor, nn

from paratime import Mixer, ParaGRU, ParaLSTM
from paratime.forecast import (
    BASELINES,
    Backtest,
    Collection,
    ParaRNNEstimator,
    RollingWindows,
    backtest,
    from_predictor,
)

Model = Callable[[Collection, RollingWindows, int], Callable[[], Backtest]]
"""From what comes before all windows, the windows, and a seed."""


def paratime(
    train: Collection, windows: RollingWindows, seed: int, mixer: Callable[[int], Mixer] = ParaGRU
) -> Callable[[], Backtest]:
    """Train ``ParaRNNEstimator`` at its defaults."""
    estimator = ParaRNNEstimator(train.freq, windows.prediction_length, mixer=mixer, seed=seed)
    task, count = estimator.train(train).task, len(windows) // len(windows.firsts)
    return lambda: backtest(task, windows.collection, windows=count)


def deepar(train: Collection, windows: RollingWindows, seed: int) -> Callable[[], Backtest]:
    """Train GluonTS's DeepAR at its defaults; half-hourly data gets a context of a week."""
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu"}
        estimator = DeepAREstimator(
            train.freq,
            windows.prediction_length,
            context_length=7 * train.seasonality if train.freq == "30min" else None,
            num_feat_dynamic_real=len(train.known),
            trainer_kwargs=quiet | {"default_root_dir": folder},
        )
        predictor = estimator.train(train.entries)
    return lambda: from_predictor(windows, predictor)


def untrained(
    train: Collection, windows: RollingWindows, seed: int, name: str
) -> Callable[[], Backtest]:
    """Return a model that is fitted to each series when it is asked for its forecast."""
    return lambda: BASELINES[name](windows)


class TorchGRU(Mixer):
    """torch's GRU, whose gates read all of the state, for series that lie end to end.

    Args:
        width: Width of input and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode x (1, T, width), one series after another."""
        assert reset is not None and len(x) == 1 and h0 is None and lengths is None
        begin = reset[0].nonzero()[:, 0]
        sizes = torch.diff(begin, append=begin.new_tensor([x.shape[1]])).tolist()
        packed = nn.utils.rnn.pack_sequence(x[0].split(sizes), enforce_sorted=False)
        y, last = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return torch.cat([row[:n] for row, n in zip(padded, sizes, strict=True)])[None], last

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Refuse: the comparison does not stream."""
        raise NotImplementedError


CLASSICAL = ("seasonal_naive", "auto_ets", "auto_theta")
MODELS: dict[str, Model] = {
    "paratime": paratime,
    "paratime_k2": partial(paratime, mixer=partial(ParaGRU, block_size=2)),
    "paratime_k4": partial(paratime, mixer=partial(ParaGRU, block_size=4)),
    "paratime_lstm": partial(paratime, mixer=ParaLSTM),
    "torch_gru": partial(paratime, mixer=TorchGRU),
    "deepar": deepar,
} | {name: partial(untrained, name=name) for name in CLASSICAL}
