"""The forecasting network: causal scaling, an encoder over the whole history, a direct head.

Every step of a series is an origin from which the head can forecast all ``prediction_length`` steps
at once; one pass over the history serves any number of them. A step carries on from the state of
the one before, so that a new observation costs the same however long the history is.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.forecast.model.outputs import Output
from paratime.forecast.model.scaling import Scaling, Trailing, lagged, trailing
from paratime.layers.encoder import Encoder


@dataclass(frozen=True)
class Shape:
    """How many numbers a step of the data has.

    Attributes:
        prediction_length: Steps H of a forecast.
        season: Steps of a season, 1 for none.
        target: Channels C of the target.
        known: Covariates F of a step that are known ahead, calendar included.
        past: Covariates P that are known up to the present only.
        static_real: Numbers of a series.
        cardinality: Categories of each label of a series; one more is for those never seen.
    """

    prediction_length: int
    season: int = 1
    target: int = 1
    known: int = 0
    past: int = 0
    static_real: int = 0
    cardinality: tuple[int, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What a forecast follows from, for N series.

    Attributes:
        recent: The last values, the newest first, (N, lags or more, C), NaN where missing.
        loc: Location, (N, C), 0 while unknown.
        scale: Scale, (N, C), 1 while unknown.
        age: Steps seen, (N,); a series without any starts from the encoder's initial state.
        features: What the encoder says of the last step, (N, width).
        state: The encoder's state; None where only forecasts are wanted.
    """

    recent: Tensor
    loc: Tensor
    scale: Tensor
    age: Tensor
    features: Tensor
    state: Any


class ForecastNetwork(nn.Module):
    """Encoder and head.

    Args:
        encoder: Encoder; its width is the network's.
        output: What a forecast is made of.
        shape: How many numbers a step of the data has.
        lags: Last values that the encoder and a linear skip connection read at every step.
        window: Steps that the scale is computed from.
        decoder_size: Width of what the head makes of covariates that are known ahead.
        dropout: Share of the encoder's features that the head does without, in training.
        squash: Whether inputs are passed through asinh, so that outliers do no harm.
    """

    def __init__(
        self,
        encoder: Encoder,
        output: Output,
        shape: Shape,
        *,
        lags: int,
        window: int,
        decoder_size: int = 64,
        dropout: float = 0.0,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.output, self.shape = encoder, output, shape
        self.lags, self.scaling, self.squash = lags, Scaling(window, shape.season), squash
        c, width, size = shape.target, encoder.width, output.size
        embedded = [min(16, (n + 3) // 2) for n in shape.cardinality]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n + 1, e, padding_idx=0)
            for n, e in zip(shape.cardinality, embedded, strict=True)
        )
        inputs = (lags + 2) * c + 1 + shape.known + shape.past + shape.static_real + sum(embedded)
        self.project = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(dropout)
        self.direct = nn.Linear(width, shape.prediction_length * c * size)
        self.skip = nn.Parameter(seasonal_naive(shape.prediction_length, lags, shape.season))
        self.amplitude = nn.Linear(width, shape.prediction_length * c)
        self.ahead = Ahead(width, shape.known, decoder_size, c * size) if shape.known else None
        for layer in (self.direct, self.amplitude):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: dict[str, Tensor], origin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Forecast from some origins of series that lie end to end.

        Args:
            batch: ``target`` (1, T, C), NaN where missing; ``reset`` bool (1, T); ``known``
                (1, T, F) of the *next* step; ``past`` (1, T, P); ``series`` (1, T), which rows of
                ``static_real`` (S, R) and ``static_cat`` (S, L) are theirs; ``future`` (N, H, F),
                the known covariates of the steps after each origin.
            origin: Steps (N,).

        Returns:
            Numbers of the output (N, H, C, size), location and scale (N, H, C).
        """
        return self.forecast(self.remember(batch, origin), batch["future"])

    def remember(self, batch: dict[str, Tensor], origin: Tensor) -> Memory:
        """Read series that lie end to end in one pass, and keep what some origins forecast from.

        Args:
            batch: As in ``forward``, without ``future``.
            origin: Steps (N,).

        Returns:
            Memory of N origins without a state: from there one can forecast, but not carry on.
        """
        stats, recent, y, _ = self._pass(batch)
        parts = (recent, stats.loc, stats.scale, stats.position + 1, y)
        recent, loc, scale, age, features = (x[0, origin] for x in parts)
        return Memory(recent, loc, scale, age, features, None)

    def memory(self, batch: dict[str, Tensor]) -> Memory:
        """Observe whole histories in one pass: what ``step`` gives at their last step.

        Args:
            batch: As in ``forward``, without ``future``; one history of T steps a row, (N, T, ...).
        """
        stats, _, y, state = self._pass(batch)
        last = torch.tensor([y.shape[1] - 1], device=y.device)
        recent = lagged(batch["target"], stats.position, last, self.remembered)[:, 0]
        age = stats.position[:, -1] + 1
        return Memory(recent, stats.loc[:, -1], stats.scale[:, -1], age, y[:, -1], state)

    def start(self, series: int) -> Memory:
        """Return the memory of some series before their first step."""
        like, c = self.skip, self.shape.target
        return Memory(
            like.new_full((series, self.remembered, c), torch.nan),
            like.new_zeros(series, c),
            like.new_ones(series, c),
            torch.zeros(series, dtype=torch.long, device=like.device),
            like.new_zeros(series, self.encoder.width),
            None,
        )

    def step(self, batch: dict[str, Tensor], memory: Memory | None) -> Memory:
        """Observe one step of N series: ``target`` (N, C), ``known`` (N, F) of the next step,
        ``past`` (N, P), ``series`` (N,), and the static tables as in ``forward``.
        """  # noqa: D205
        value = batch["target"]
        memory = self.start(len(value)) if memory is None else memory
        recent = torch.cat([value[:, None], memory.recent[:, :-1]], dim=1)
        loc, scale = self.scaling.of(recent)
        loc = torch.where(loc.isnan(), memory.loc, loc)
        scale = torch.where(scale.isnan(), memory.scale, scale)
        x = self._inputs(recent[:, : self.lags], loc, scale, memory.age + 1, batch)
        fresh = memory.age == 0
        features, state = self.encoder.step(x, memory.state, fresh if fresh.any() else None)
        return Memory(recent, loc, scale, memory.age + 1, features, state)

    def forecast(self, memory: Memory, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Forecast from memory with the known covariates (N, H, F); returns as ``forward``."""
        recent, loc, scale = memory.recent[:, : self.lags], memory.loc, memory.scale
        raw = self.head(memory.features, recent, loc, scale, future)
        loc, scale = (x.unsqueeze(1).expand(raw.shape[:-1]) for x in (loc, scale))
        return raw, loc, scale

    @property
    def remembered(self) -> int:
        """Last values that have to be remembered."""
        return max(self.lags, self.scaling.length)

    def head(
        self, features: Tensor, recent: Tensor, loc: Tensor, scale: Tensor, future: Tensor
    ) -> Tensor:
        """Map what is known at N origins to numbers of the output (N, H, C, size)."""
        features = self.dropout(features)
        sizes = self.shape.prediction_length, self.shape.target, self.output.size
        raw = self.direct(features).unflatten(-1, sizes)
        if self.ahead is not None:
            raw = raw + self.ahead(features, future).unflatten(-1, sizes[1:])
        skip = torch.einsum("hl,nlc->nhc", self.skip, self._scaled(recent, loc, scale))
        skip = skip * (1 + self.amplitude(features).unflatten(-1, sizes[:2]))  # seasons that grow
        return torch.cat([raw[..., :1] + skip.unsqueeze(-1), raw[..., 1:]], dim=-1)

    def _pass(self, batch: dict[str, Tensor]) -> tuple[Trailing, Tensor, Tensor, Any]:
        """Return statistics, last values and features of all steps, and the encoder's state."""
        target, reset = batch["target"], batch["reset"]
        stats = trailing(target, reset, self.scaling)
        steps = torch.arange(target.shape[1], device=target.device)
        recent = lagged(target, stats.position, steps, self.lags)
        x = self._inputs(recent, stats.loc, stats.scale, stats.position + 1, batch)
        return stats, recent, *self.encoder(x, reset=reset)

    def _inputs(
        self, recent: Tensor, loc: Tensor, scale: Tensor, age: Tensor, batch: dict[str, Tensor]
    ) -> Tensor:
        lags = self._scaled(recent, loc, scale).flatten(-2)
        present, spread = ~recent[..., 0, :].isnan(), -(loc.abs() / scale).log1p()
        parts = [lags, present.to(lags), spread, age.to(lags).log1p().unsqueeze(-1) / 5]
        series = batch["series"]
        parts += [batch["known"], batch["past"], batch["static_real"][series]]
        for label, embedding in enumerate(self.embeddings):
            codes = batch["static_cat"][series, label]
            seen = (codes >= 0) & (codes < self.shape.cardinality[label])
            parts.append(embedding(torch.where(seen, codes + 1, 0)))
        return self.project(torch.cat(parts, dim=-1))

    def _scaled(self, recent: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        scaled = (recent - loc.unsqueeze(-2)) / scale.unsqueeze(-2)
        return (scaled.asinh() if self.squash else scaled).nan_to_num(0.0)


class Ahead(nn.Module):
    """What covariates that are known ahead add to each step of a forecast.

    Args:
        width: Width of the encoder's features.
        known: Covariates of a step.
        hidden: Width inside.
        size: Numbers of a step of the forecast.
    """

    def __init__(self, width: int, known: int, hidden: int, size: int) -> None:
        super().__init__()
        self.of_features = nn.Linear(width, hidden)
        self.of_known = nn.Linear(known, hidden, bias=False)
        self.out = nn.Linear(hidden, size, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor, future: Tensor) -> Tensor:
        """Map features (N, width) and covariates (N, H, known) to (N, H, size)."""
        hidden = self.of_features(features).unsqueeze(1) + self.of_known(future)
        return self.out(functional.gelu(hidden))


def seasonal_naive(prediction_length: int, lags: int, season: int) -> Tensor:
    """Return the weights (H, lags) of the last season, repeated; of nothing if lags are fewer."""
    weight = torch.zeros(prediction_length, lags)
    if season <= lags:
        ahead = torch.arange(prediction_length)
        weight[ahead, season - 1 - ahead % season] = 1.0
    return weight
