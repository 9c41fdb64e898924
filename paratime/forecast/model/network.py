"""The forecasting network: causal scaling, an encoder over the whole history, a direct head.

Every step of a series is an origin from which the head can forecast all ``prediction_length`` steps
at once; one pass over the history serves any number of origins. A step continues from the state of
the step before, so the cost of a new observation does not depend on the length of the history.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.forecast.model.calibration import Calibration
from paratime.forecast.model.outputs import Output
from paratime.forecast.model.pieces import LARGEST, pieces_of, recomputed
from paratime.forecast.model.scaling import TYPICAL, Scaling, Trailing, lagged, trailing
from paratime.layers.encoder import Encoder
from paratime.layers.state import map_state
from paratime.ops.precision import precise

FAR = 50.0
"""Scales from zero beyond which a network does not see how far away zero is."""


@dataclass(frozen=True)
class SeriesShape:
    """The sizes of the data.

    Attributes:
        prediction_length: Steps H of a forecast.
        season: Steps of a season, 1 for none.
        target: Channels C of the target.
        known: Covariates F of a step that are known ahead, calendar included.
        past: Covariates P that are known only up to the present.
        static_real: Static values of a series.
        cardinality: Categories of each label of a series; unseen ones share one more.
        variation: The share of its level by which a series varies, until it has varied; if 0, all
            scales depend on the level, as in version 0.1.
    """

    prediction_length: int
    season: int = 1
    target: int = 1
    known: int = 0
    past: int = 0
    static_real: int = 0
    cardinality: tuple[int, ...] = ()
    variation: float = TYPICAL


@dataclass(frozen=True)
class Memory:
    """The inputs of a forecast, for N series.

    Attributes:
        recent: The last values, newest first, (N, lags or more, C), NaN where missing; float64.
        loc: Location, (N, C), NaN while unknown; float64.
        scale: Scale, (N, C), NaN while unknown; float64.
        age: Steps seen, (N,); a series of age 0 starts from the encoder's initial state.
        features: The encoder's output at the last step, (N, width).
        state: The encoder's state; None if only forecasts are needed.
    """

    recent: Tensor
    loc: Tensor
    scale: Tensor
    age: Tensor
    features: Tensor
    state: Any

    def map(self, change: Callable[[Tensor], Tensor]) -> "Memory":
        """Return a memory with every tensor changed, those of the state included."""
        tensors = {name: change(getattr(self, name)) for name in MEMORY_TENSORS}
        return Memory(**tensors, state=map_state(change, self.state))


MEMORY_TENSORS = ("recent", "loc", "scale", "age", "features")


class ForecastNetwork(nn.Module):
    """Encoder and head.

    Args:
        encoder: Encoder; its width is the network's.
        output: Form of a forecast: quantiles, or a distribution.
        shape: Sizes of the data.
        lags: Last values that the encoder and a linear skip connection read at every step.
        window: Steps from which the scale is computed.
        decoder_size: Hidden width of the head's part for covariates that are known ahead.
        dropout: Share of the encoder's features that the head drops in training.
        squash: Whether inputs pass through asinh, which tames outliers.
    """

    def __init__(
        self,
        encoder: Encoder,
        output: Output,
        shape: SeriesShape,
        *,
        lags: int,
        window: int,
        decoder_size: int = 64,
        dropout: float = 0.0,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.output, self.shape = encoder, output, shape
        self.lags, self.squash = lags, squash
        self.scaling = Scaling(window, shape.season, lags, shape.variation)
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
        self.skip = nn.Parameter(seasonal_weights(shape.prediction_length, lags, shape.season))
        self.amplitude = nn.Linear(width, shape.prediction_length * c)
        self.ahead = Ahead(width, shape.known, decoder_size, c * size) if shape.known else None
        self.calibration: Calibration | None = None
        self.register_load_state_dict_pre_hook(_expect_calibration)
        for layer in (self.direct, self.amplitude):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: dict[str, Tensor], origin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Forecast from origins of series that lie end to end.

        Args:
            batch: ``target`` (1, T, C) in float64, NaN where missing; ``reset`` bool (1, T);
                ``known`` (1, T, F) of the *next* step; ``past`` (1, T, P); ``series`` (1, T), the
                rows of each step in ``static_real`` (S, R) and ``static_cat`` (S, L); ``future``
                (N, H, F), the known covariates of the steps after each origin.
            origin: Steps (N,).

        Returns:
            The output's parameters (N, H, C, size); location and scale (N, H, C) in float64.
        """
        return self.forecast(self.remember(batch, origin), batch["future"])

    def remember(self, batch: dict[str, Tensor], origin: Tensor) -> Memory:
        """Read series that lie end to end in one pass, and keep the memory of some origins.

        Args:
            batch: As in ``forward``, without ``future``.
            origin: Steps (N,).

        Returns:
            Memory of N origins without a state: enough to forecast, not to continue.
        """
        memory = self._read(batch, origin, self.remembered)
        return replace(memory.map(itemgetter(0)), state=None)

    def memory(self, batch: dict[str, Tensor]) -> Memory:
        """Observe whole histories in one pass, with the result of ``step`` at their last step.

        Args:
            batch: As in ``forward``, without ``future``; one history of T steps a row, (N, T, ...).
        """
        target = batch["target"]
        last = torch.tensor([target.shape[1] - 1], device=target.device)
        memory = self._read(batch, last, self.remembered)
        own = {name: getattr(memory, name)[:, 0] for name in MEMORY_TENSORS}
        return Memory(**own, state=memory.state)

    def start(self, series: int) -> Memory:
        """Return the memory of series before their first step."""
        like, c = self.skip, self.shape.target
        unknown = like.new_full((series, self.remembered, c), torch.nan, dtype=torch.float64)
        return Memory(
            unknown,
            unknown[:, 0].clone(),
            unknown[:, 0].clone(),
            torch.zeros(series, dtype=torch.long, device=like.device),
            like.new_zeros(series, self.encoder.width),
            None,
        )

    def step(self, batch: dict[str, Tensor], memory: Memory | None) -> Memory:
        """Observe one step of N series.

        Args:
            batch: ``target`` (N, C), ``known`` (N, F) of the next step, ``past`` (N, P), ``series``
                (N,), and the static tables as in ``forward``.
            memory: The memory before the step; None at the beginning.
        """
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
        features = self.dropout(memory.features)
        loc, scale = self.scaling.usable(memory.loc, memory.scale)
        sizes = self.shape.prediction_length, self.shape.target, self.output.size
        raw = precise(self.direct(features)).unflatten(-1, sizes)
        if self.ahead is not None:
            raw = raw + self.ahead(features, future).unflatten(-1, sizes[1:])
        lags = self._scaled(memory.recent[:, : self.lags], loc, scale)
        skip = torch.einsum("hl,nlc->nhc", precise(self.skip), lags)
        skip = skip * (1 + self.amplitude(features).unflatten(-1, sizes[:2]))  # seasons that grow
        raw = torch.cat([raw[..., :1] + skip.unsqueeze(-1), raw[..., 1:]], dim=-1)
        loc, scale = (x.unsqueeze(1).expand(raw.shape[:-1]) for x in (loc, scale))
        if self.calibration is not None:
            loc, scale = self.calibration(self.output, raw, loc, scale, memory.recent)
        return raw, loc, scale

    @property
    def remembered(self) -> int:
        """Number of last values that a memory holds."""
        return max(self.lags, self.scaling.length)

    @property
    def step_bytes(self) -> int:
        """What the backward pass keeps of a step, for ParaGRU: 28 values a block and channel."""
        values = 28 * self.encoder.width * self.encoder.depth + 3 * self.project.in_features
        return values * self.skip.element_size()

    @property
    def origin_bytes(self) -> int:
        """What the backward pass keeps of a forecast: six times what the head computes."""
        hidden = 0 if self.ahead is None else self.ahead.out.in_features
        values = self.shape.target * self.output.size + hidden
        return 6 * self.shape.prediction_length * values * self.skip.element_size()

    def training_bytes(self, steps: int, origins: int) -> int:
        """Return about what the backward pass keeps of a batch: bounded, whatever its size."""
        history, head = steps * self.step_bytes, min(LARGEST, origins * self.origin_bytes)
        return history + head if history <= LARGEST else max(LARGEST, head)

    def _read(self, batch: dict[str, Tensor], origin: Tensor, count: int) -> Memory:
        """Return the memory (B, N, ...) of N origins with ``count`` last values, in pieces.

        A piece continues from the state of the one before, with the gradients of one pass.
        """
        target = batch["target"]
        stats = trailing(target, batch["reset"], self.scaling)
        pieces = pieces_of(target.shape[1], target.shape[0] * self.step_bytes)
        encode, state = recomputed(self._encode, pieces), None
        rows = [((x.start <= origin) & (origin < x.stop)).nonzero()[:, 0] for x in pieces]
        parts = []
        for piece, chosen in zip(pieces, rows, strict=True):
            features, state = encode(batch, stats, piece, origin[chosen] - piece.start, state)
            parts.append(features)
        return Memory(
            recent=lagged(target, stats.position, origin, count),
            loc=stats.loc[:, origin],
            scale=stats.scale[:, origin],
            age=stats.position[:, origin] + 1,
            features=torch.cat(parts, dim=1)[:, torch.cat(rows).argsort()],
            state=state,
        )

    def _encode(
        self, batch: dict[str, Tensor], stats: Trailing, piece: slice, origin: Tensor, state: Any
    ) -> tuple[Tensor, Any]:
        """Encode a piece; return the features of its origins, counted in it, and the state."""
        steps = torch.arange(piece.start, piece.stop, device=origin.device)
        recent = lagged(batch["target"], stats.position, steps, self.lags)
        own = {name: batch[name][:, piece] for name in ("known", "past", "series", "reset")}
        loc, scale, age = (x[:, piece] for x in (stats.loc, stats.scale, stats.position + 1))
        x = self._inputs(recent, loc, scale, age, batch | own)
        features, state = self.encoder(x, state, reset=own["reset"])
        return features[:, origin], state

    def _inputs(
        self, recent: Tensor, loc: Tensor, scale: Tensor, age: Tensor, batch: dict[str, Tensor]
    ) -> Tensor:
        loc, scale = self.scaling.usable(loc, scale)
        lags = self._scaled(recent, loc, scale).flatten(-2)
        present = ~recent[..., 0, :].isnan()
        level = -(loc.abs() / scale).clamp(max=FAR).log1p()  # how near zero is, if it is
        parts = [lags, present.to(lags), level.to(lags), age.to(lags).log1p().unsqueeze(-1) / 5]
        series = batch["series"]
        parts += [batch["known"], batch["past"], batch["static_real"][series]]
        for label, embedding in enumerate(self.embeddings):
            codes = batch["static_cat"][series, label]
            seen = (codes >= 0) & (codes < self.shape.cardinality[label])
            parts.append(embedding(torch.where(seen, codes + 1, 0)))
        return self.project(torch.cat(parts, dim=-1).to(self.project.weight))

    def _scaled(self, recent: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        scaled = ((recent - loc.unsqueeze(-2)) / scale.unsqueeze(-2)).to(precise(self.skip))
        return (scaled.asinh() if self.squash else scaled).nan_to_num(0.0)


class Ahead(nn.Module):
    """Adds the effect of covariates that are known ahead to each step of a forecast.

    Args:
        width: Width of the encoder's features.
        known: Covariates of a step.
        hidden: Hidden width.
        size: Parameters of a step of the forecast.
    """

    def __init__(self, width: int, known: int, hidden: int, size: int) -> None:
        super().__init__()
        self.of_features = nn.Linear(width, hidden)
        self.of_known = nn.Linear(known, hidden, bias=False)
        self.out = nn.Linear(hidden, size, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor, future: Tensor) -> Tensor:
        """Map features (N, width) and covariates (N, H, known) to (N, H, size)."""
        hidden = self.of_features(features).unsqueeze(1) + self.of_known(future.to(features))
        return self.out(functional.gelu(hidden))


def _expect_calibration(network: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for a calibration exactly if there is one among the weights to be loaded."""
    member = state.get(f"{prefix}calibration.member")
    network.calibration = None if member is None else Calibration(*member.shape)


def seasonal_weights(prediction_length: int, lags: int, season: int) -> Tensor:
    """Return weights (H, lags) that repeat the last season; zeros if the lags are fewer."""
    weight = torch.zeros(prediction_length, lags)
    if season <= lags:
        ahead = torch.arange(prediction_length)
        weight[ahead, season - 1 - ahead % season] = 1.0
    return weight
