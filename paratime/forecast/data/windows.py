"""Series as tensors, end to end, and the origins of forecasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paratime.forecast.data.calendar import calendar

Floats = NDArray[np.float32]

LARGEST = float(np.finfo(np.float32).max)
"""The largest magnitude of a value."""

VALUES = ("target", "future_target")
"""Values of series, in a batch: float64 until they are scaled, whatever the network's precision."""


@dataclass(frozen=True)
class SeriesTensors:
    """One series as tensors for the network.

    Attributes:
        item_id: Its name.
        target: (T, C) in float64, NaN where missing.
        known: Calendar and covariates of all steps, and of A known steps ahead, (T + A, F).
        past: (T, P).
        static_real: (R,).
        static_cat: Codes (L,).
    """

    item_id: str
    target: Tensor
    known: Tensor
    past: Tensor
    static_real: Tensor
    static_cat: Tensor


@dataclass(frozen=True)
class CovariateScaler:
    """Standardises covariates, and adds calendar features to dated series.

    Attributes:
        known: Location and scale of each covariate that is known ahead, in the training part.
        past: Likewise for covariates that are known only up to the present.
        static_real: Likewise for static values.
        dated: Whether dates are real; nominal dates have no calendar features.
    """

    known: tuple[tuple[float, float], ...] = ()
    past: tuple[tuple[float, float], ...] = ()
    static_real: tuple[tuple[float, float], ...] = ()
    dated: bool = True

    @classmethod
    def of(cls, entries: Sequence[dict[str, Any]], dated: bool = True) -> "CovariateScaler":
        """Compute location and scale from the steps that have a target."""

        def moments(rows: list[Floats]) -> tuple[tuple[float, float], ...]:
            values = np.concatenate(rows, axis=1).astype(np.float64)
            spread = values.std(1)
            return tuple(
                zip(values.mean(1).tolist(), np.where(spread > 0, spread, 1).tolist(), strict=True)
            )

        steps = [entry["target"].shape[-1] for entry in entries]
        known = [e["feat_dynamic_real"][:, :t] for e, t in zip(entries, steps, strict=True)]
        return cls(
            moments(known),
            moments([e["past_feat_dynamic_real"] for e in entries]),
            moments([e["feat_static_real"][:, None] for e in entries]),
            dated,
        )


def to_tensors(entry: dict[str, Any], standard: CovariateScaler, ahead: int) -> SeriesTensors:
    """Return a series with its calendar, for forecasts of up to ``ahead`` steps."""
    target = np.atleast_2d(entry["target"]).T
    steps = len(target)
    covariates = np.zeros((steps + ahead, 0), dtype=np.float32)
    if standard.known:
        covariates = standardised(entry["feat_dynamic_real"], standard.known)[: steps + ahead]
    if standard.dated:
        dates = calendar(entry["start"], len(covariates))
        covariates = np.concatenate([dates, covariates], axis=1)
    return SeriesTensors(
        entry["item_id"],
        torch.from_numpy(np.ascontiguousarray(target, dtype=np.float64)),
        torch.from_numpy(covariates),
        torch.from_numpy(standardised(entry["past_feat_dynamic_real"], standard.past)[:steps]),
        torch.from_numpy(standardised(entry["feat_static_real"][:, None], standard.static_real)[0]),
        torch.from_numpy(entry["feat_static_cat"].astype(np.int64)),
    )


def standardised(rows: Floats, moments: tuple[tuple[float, float], ...]) -> Floats:
    """Return rows (n, T) as (T, n), standardised."""
    loc, scale = np.asarray(moments, dtype=np.float64).reshape(-1, 2).T
    return ((rows.T - loc) / scale).astype(np.float32)


def pack_series(series: Sequence[SeriesTensors]) -> dict[str, Tensor]:
    """Lay series end to end as a batch without origins."""
    lengths = [len(x.target) for x in series]
    reset = torch.zeros(1, sum(lengths), dtype=torch.bool)
    reset[0, np.cumsum([0, *lengths[:-1]])] = True
    following = [_repeated(x.known[1:], n) for x, n in zip(series, lengths, strict=True)]
    return {
        "target": torch.cat([x.target for x in series])[None],
        "reset": reset,
        "known": torch.cat(following)[None],
        "past": torch.cat([x.past for x in series])[None],
        "series": torch.arange(len(series)).repeat_interleave(torch.tensor(lengths))[None],
        "static_real": torch.stack([x.static_real for x in series]),
        "static_cat": torch.stack([x.static_cat for x in series]),
    }


def placed(batch: dict[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    """Return a batch on a network's device and in its precision; values of series keep theirs."""

    def place(name: str, x: Tensor) -> Tensor:
        inputs = x.is_floating_point() and name not in VALUES
        return x.to(like.device, like.dtype if inputs else x.dtype)

    return {name: place(name, x) for name, x in batch.items()}


def _repeated(x: Tensor, steps: int) -> Tensor:
    """Return the first steps of x (T, F), padded with the last one."""
    return x[torch.arange(steps).clamp(max=len(x) - 1)]


def with_origins(
    series: Sequence[SeriesTensors], origins: Sequence[Tensor], prediction_length: int
) -> dict[str, Tensor]:
    """Pack series with origins (steps of each series) and the steps ahead of them.

    Returns:
        The batch with ``origin`` (N,), positions in the pack, ``future`` (N, H, F) and
        ``future_target`` (N, H, C), NaN beyond a series' end.
    """
    ahead = torch.arange(1, prediction_length + 1)
    begin = np.cumsum([0, *[len(x.target) for x in series[:-1]]])
    future, target = [], []
    for x, origin in zip(series, origins, strict=True):
        steps = origin[:, None] + ahead
        future.append(x.known[steps.clamp(max=len(x.known) - 1)])
        inside = steps < len(x.target)
        values = x.target[steps.clamp(max=len(x.target) - 1)]
        target.append(torch.where(inside[..., None], values, torch.nan))
    places = [origin + int(b) for origin, b in zip(origins, begin, strict=True)]
    return pack_series(series) | {
        "origin": torch.cat(places),
        "future": torch.cat(future),
        "future_target": torch.cat(target),
    }
