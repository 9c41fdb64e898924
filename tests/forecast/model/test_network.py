"""The forecasting network: streaming equals one pass, and no origin sees its future."""

import pytest
import torch
from torch import Tensor, nn

from paratime import Encoder, ParaLSTM
from paratime.forecast.model.network import ForecastNetwork, Memory, SeriesShape, seasonal_weights
from paratime.forecast.model.outputs import Quantiles, StudentT
from paratime.testing import TOLERANCE, check_apart

LENGTHS = (30, 12, 1)
SHAPE = SeriesShape(5, season=4, target=2, known=3, past=1, static_real=1, cardinality=(3,))
NETWORKS = {
    "gru": lambda: ForecastNetwork(Encoder(16, 2), Quantiles(), SHAPE, lags=8, window=6),
    "lstm": lambda: ForecastNetwork(
        Encoder(16, 1, ParaLSTM), StudentT(), SHAPE, lags=3, window=9, squash=True, dropout=0.5
    ),
}


def network(name: str) -> ForecastNetwork:
    made = NETWORKS[name]().double().eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def batch() -> dict[str, Tensor]:
    steps = sum(LENGTHS)
    target = torch.randn(1, steps, 2).double().cumsum(1)
    target[torch.rand(target.shape) < 0.2] = torch.nan
    reset = torch.zeros(1, steps, dtype=torch.bool)
    reset[0, [0, LENGTHS[0], LENGTHS[0] + LENGTHS[1]]] = True
    return {
        "target": target,
        "reset": reset,
        "known": torch.randn(1, steps, 3).double(),
        "past": torch.randn(1, steps, 1).double(),
        "series": torch.arange(3).repeat_interleave(torch.tensor(LENGTHS))[None],
        "static_real": torch.randn(3, 1).double(),
        "static_cat": torch.tensor([[0], [2], [-1]]),
        "future": torch.randn(steps, 5, 3).double(),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_step_by_step_is_one_pass(name):
    net, data = network(name), batch()
    whole = net(data, torch.arange(sum(LENGTHS)))
    tables = {key: data[key] for key in ("static_real", "static_cat")}
    for t in range(sum(LENGTHS)):
        memory: Memory | None = None if data["reset"][0, t] else memory  # noqa: F821
        now = {key: data[key][:, t] for key in ("target", "known", "past", "series")}
        memory = net.step(now | tables, memory)
        for found, expected in zip(
            net.forecast(memory, data["future"][t : t + 1]), whole, strict=True
        ):
            assert (found[0] - expected[t]).abs().max() <= TOLERANCE[torch.float64].value


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("steps", (1, 2, 14))
def test_the_memory_of_whole_histories_is_that_of_their_steps(name, steps):
    net, data = network(name), batch()
    rows = {
        key: data[key][0, : 3 * steps].unflatten(0, (3, -1)) for key in ("target", "known", "past")
    }
    rows["target"][2] = torch.nan
    tables = {key: data[key] for key in ("static_real", "static_cat")}
    series = torch.tensor([2, 0, 1])
    memory = None
    for t in range(steps):
        now = {key: x[:, t] for key, x in rows.items()}
        memory = net.step(now | tables | {"series": series}, memory)
    reset = torch.zeros(3, steps, dtype=torch.bool)
    reset[:, 0] = True
    whole = rows | tables | {"reset": reset, "series": series[:, None].expand(-1, steps)}
    found, future = net.memory(whole), data["future"][:3]
    check_apart(tuple(vars(found).values()), tuple(whole.values()), "memory")
    check_apart(tuple(vars(memory).values()), tuple(now.values()), "step")
    assert torch.equal(found.age, memory.age) and found.recent.shape == memory.recent.shape
    for x, y in zip(net.forecast(found, future), net.forecast(memory, future), strict=True):
        assert (x - y).abs().max() <= TOLERANCE[torch.float64].value


@pytest.mark.parametrize("name", NETWORKS)
def test_no_origin_sees_its_future(name):
    net, data = network(name), batch()
    origin, data["future"] = torch.arange(20), data["future"][:20]
    before = net(data, origin)
    data["target"][:, 20:] = 1e6
    data["known"][:, 20:], data["past"][:, 20:] = 7, 7
    for x, y in zip(before, net(data, origin), strict=True):
        assert (x - y).abs().max() <= TOLERANCE[torch.float64].value


def test_series_do_not_see_each_other():
    net, data = network("gru"), batch()
    second = torch.arange(LENGTHS[0], LENGTHS[0] + LENGTHS[1])
    data["future"] = data["future"][second]
    packed = net(data, second)[0]
    alone = {key: data[key][:, second] for key in ("target", "reset", "known", "past", "series")}
    alone |= {key: data[key] for key in ("static_real", "static_cat")}
    alone["future"] = data["future"]
    found = net(alone, torch.arange(len(second)))[0]
    assert (found - packed).abs().max() <= TOLERANCE[torch.float64].value


def test_a_new_network_forecasts_the_last_season():
    shape = SeriesShape(6, season=4)
    net = ForecastNetwork(Encoder(8, 1), Quantiles(), shape, lags=8, window=8)
    target = torch.arange(1.0, 41).reshape(1, 40, 1) % 4
    data = {
        "target": target,
        "reset": torch.zeros(1, 40, dtype=torch.bool),
        "known": torch.zeros(1, 40, 0),
        "past": torch.zeros(1, 40, 0),
        "series": torch.zeros(1, 40, dtype=torch.long),
        "static_real": torch.zeros(1, 0),
        "static_cat": torch.zeros(1, 0, dtype=torch.long),
        "future": torch.zeros(1, 6, 0),
    }
    raw, loc, scale = net(data, torch.tensor([29]))
    expected = target[0, [26, 27, 28, 29, 26, 27], 0]
    torch.testing.assert_close((loc + scale * raw[..., 0])[0, :, 0], expected.double())
    assert seasonal_weights(3, 2, 4).sum() == 0


def test_labels_never_seen_share_an_embedding():
    net, data = network("gru"), batch()
    origin = torch.arange(sum(LENGTHS))
    first = net(data, origin)[0]
    data["static_cat"][2] = 0
    assert not torch.equal(first, net(data, origin)[0])
    data["static_cat"][2] = 17
    assert torch.equal(first, net(data, origin)[0])
