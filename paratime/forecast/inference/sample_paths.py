"""Sample paths: forecasts drawn step by step, each value given those before it.

The direct head gives the distribution of each step ahead, not their dependence. Here, the first
step is drawn and observed, then the next one, and so on: sums, maxima and other functions of a path
have the right distribution, and a path may be longer than ``prediction_length``.
"""

from collections.abc import Iterator

import torch
from gluonts.model.forecast import SampleForecast
from torch import Tensor

from paratime.errors import InputError, check_at_least, check_finite
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.features import check_ahead, match_features
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import SeriesTensors, pack_series, placed, to_tensors
from paratime.forecast.model.network import ForecastNetwork
from paratime.forecast.model.task import ForecastTask


def sample_paths(
    task: ForecastTask,
    data: Collection,
    num_samples: int = 100,
    *,
    prediction_length: int | None = None,
    seed: int = 0,
) -> Iterator[SampleForecast]:
    """Yield paths from the end of each series, (num_samples, steps) or (num_samples, steps, C).

    Covariates known up to the present keep their last value.

    Args:
        task: A trained task.
        data: Series like those of the training, each of at least one step; their known
            covariates continue for as many steps as the paths.
        num_samples: Paths of a series.
        prediction_length: Steps of a path; those of the direct forecast by default.
        seed: Seed of the paths.

    Raises:
        InputError: A series is empty, differs in kind from those of training, or its paths are
            infinite or NaN.
    """
    length = task.spec.prediction_length if prediction_length is None else prediction_length
    check_at_least(1, num_samples=num_samples, prediction_length=length)
    entries = match_features(data, task.spec).entries
    check_ahead(entries, length)
    standard = task.spec.standard
    for number, entry in enumerate(entries):
        if not entry["target"].size:
            raise InputError(
                f"series {entry['item_id']!r}", "at least 1 step", "none", "give its first value"
            )
        series = to_tensors(entry, standard, length)
        with torch.random.fork_rng(devices=[task.device] if task.device.type == "cuda" else []):
            torch.manual_seed(seed + number)
            paths = _paths(task.eval().network, series, num_samples, length)
        with quiet_periods():
            start = entry["start"] + entry["target"].shape[-1]
        samples = paths.squeeze(-1) if paths.shape[-1] == 1 else paths
        yield SampleForecast(samples.cpu().numpy(), start, entry["item_id"], entry.get("info"))


@torch.inference_mode()
def _paths(net: ForecastNetwork, series: SeriesTensors, count: int, length: int) -> Tensor:
    """Return paths (count, length, C)."""
    device = net.skip.device
    batch = placed(pack_series([series]), net.skip)
    memory = net.memory(batch).map(lambda x: x.expand(count, *x.shape[1:]))
    known, steps = series.known.to(net.skip), len(series.target)
    constant = {name: batch[name] for name in ("static_real", "static_cat")}
    constant |= {"past": batch["past"][:, -1].expand(count, -1)}
    constant |= {"series": torch.zeros(count, dtype=torch.long, device=device)}
    values, name = list[Tensor](), f"series {series.item_id!r}"
    for t in range(steps, steps + length):
        ahead = known[t].expand(count, net.shape.prediction_length, -1)
        raw, loc, scale = net.forecast(memory, ahead)
        good = torch.stack([x.isfinite().all() for x in (raw[:, 0], loc[:, 0], scale[:, 0])]).all()
        check_finite(f"step {t - steps + 1} of the paths", [(name, bool(good))])
        values.append(net.output.sample(raw[:, 0], loc[:, 0], scale[:, 0]))
        following = known[min(t + 1, len(known) - 1)].expand(count, -1)
        memory = net.step(constant | {"target": values[-1], "known": following}, memory)
    paths = torch.stack(values, dim=1)
    check_finite("paths", [(name, bool(paths.isfinite().all()))])
    return paths
