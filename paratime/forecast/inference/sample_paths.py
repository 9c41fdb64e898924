"""Sample paths: forecasts drawn step after step, each value given those before it.

The direct head says of every step ahead what it may be, but not how steps hang together. Here its
first step is drawn, observed as if it had come, and so on: sums, maxima and other functions of a
whole path then have the right distribution, and a path may be longer than ``prediction_length``.
"""

from collections.abc import Iterator

import torch
from gluonts.model.forecast import SampleForecast
from torch import Tensor

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.calendar import quiet
from paratime.forecast.data.features import check_ahead, matched
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import Prepared, Standard, packed, prepare
from paratime.forecast.model.network import ForecastNetwork, Memory
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.slots import memory_of, table_rows


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
        data: Series like those of the training, each of at least one step; their known covariates
            go on for as many steps as the paths.
        num_samples: Paths of a series.
        prediction_length: Steps of a path; those of the direct forecast by default.
        seed: Seed of the paths.

    Raises:
        InputError: A series is unlike those of the training, or empty.
    """
    length = task.series["prediction_length"] if prediction_length is None else prediction_length
    check_at_least(1, num_samples=num_samples, prediction_length=length)
    entries = matched(data, task.series)
    check_ahead(entries, length)
    standard = Standard(**task.series["standard"])
    for number, entry in enumerate(entries):
        if not entry["target"].size:
            remedy = "give its first value"
            raise InputError(f"series {entry['item_id']!r}", "at least 1 step", "none", remedy)
        series = prepare(entry, standard, length)
        with torch.random.fork_rng(devices=[task.device] if task.device.type == "cuda" else []):
            torch.manual_seed(seed + number)
            paths = _paths(task.eval().network, series, num_samples, length)
        with quiet():
            start = entry["start"] + entry["target"].shape[-1]
        samples = paths.squeeze(-1) if paths.shape[-1] == 1 else paths
        yield SampleForecast(samples.cpu().numpy(), start, entry["item_id"])


@torch.inference_mode()
def _paths(net: ForecastNetwork, series: Prepared, count: int, length: int) -> Tensor:
    """Return paths (count, length, C)."""
    device = net.skip.device
    batch = {name: x.to(device) for name, x in packed([series]).items()}
    memory = _repeated(net.memory(batch), count)
    known, steps = series.known.to(device), len(series.target)
    constant = {name: batch[name] for name in ("static_real", "static_cat")}
    constant |= {"past": batch["past"][:, -1].expand(count, -1)}
    constant |= {"series": torch.zeros(count, dtype=torch.long, device=device)}
    values = []
    for t in range(steps, steps + length):
        ahead = known[t].expand(count, net.shape.prediction_length, -1)
        raw, loc, scale = net.forecast(memory, ahead)
        values.append(net.output.sample(raw[:, 0], loc[:, 0], scale[:, 0]))
        following = known[min(t + 1, len(known) - 1)].expand(count, -1)
        memory = net.step(constant | {"target": values[-1], "known": following}, memory)
    return torch.stack(values, dim=1)


def _repeated(memory: Memory, count: int) -> Memory:
    rows = {name: x.expand(count, *x.shape[1:]) for name, x in table_rows(memory).items()}
    return memory_of(rows, memory.state)
