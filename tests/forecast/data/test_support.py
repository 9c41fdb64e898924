"""Which series are counts or amounts, and what follows for their forecasts."""

from dataclasses import replace

import numpy as np
import pytest
from forecast.backtests import H
from forecast.estimators import make_estimator, waves

from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.summary import summarize
from paratime.forecast.data.support import Support, support, variation
from paratime.forecast.data.windows import CovariateScaler
from paratime.forecast.model.outputs import Quantiles

RANDOM = np.random.default_rng(0)
SERIES = {
    "intermittent": (RANDOM.poisson(0.2, 200), Support(True, True, True)),
    "small": (1 + RANDOM.poisson(3, 200), Support(True, True, True)),
    "rain": (RANDOM.gamma(1, 5, 200) * (RANDOM.random(200) < 0.4), Support(True, False, True)),
    "large": (500 + RANDOM.poisson(90, 200), Support(True, False, False)),
    "overdispersed": (RANDOM.negative_binomial(2, 0.05, 200), Support(True, False, False)),
    "signed": (RANDOM.poisson(0.2, 200) - 1, Support(False, False, False)),
    "real": (RANDOM.gamma(2, 5, 200), Support(False, False, False)),
    "empty": (np.full(9, np.nan), Support(False, False, False)),
}


def collection(values):
    return from_gluonts([{"start": "2020-01-01", "target": values.astype(float)}], "D")


@pytest.mark.parametrize("name", SERIES)
def test_series_are_recognised(name):
    values, expected = SERIES[name]
    with_gap = np.append(values.astype(float), np.nan)
    assert support(collection(values)) == support(collection(with_gap)) == expected
    assert ("NegativeBinomial" in summarize(collection(values))) == expected.counts


def test_what_is_held_out_is_not_read():
    values = np.append(SERIES["intermittent"][0], [-1] * 5)
    assert not support(collection(values)).counts and support(collection(values), 5).counts
    assert variation(collection(values), 5) == variation(collection(values[:-5]))


@pytest.mark.parametrize("rate", (0.3, 2.0, 30.0))
def test_counts_are_not_forecast_below_zero_and_means_are_means(rate):
    random = np.random.default_rng(1)
    data = [x | {"target": random.poisson(rate, 120).astype(float)} for x in waves(20, 120)]
    predictor = make_estimator(max_steps=60).train(data)
    found = [*predictor.predict(data)]
    assert min(x.forecast_array.min() for x in found) >= 0
    mean = np.mean([x.mean for x in found])
    assert 0.5 * rate < mean < 2 * rate


def test_a_specification_of_version_0_1_keeps_its_statistics():
    data = collection(SERIES["intermittent"][0])
    spec = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    plain = {k: x for k, x in spec.plain().items() if k not in ("variation", "nonnegative")}
    old = SeriesSpec.of(plain)
    assert old == replace(spec, variation=0.0, nonnegative=False)
    recipe = make_estimator().recipe
    scaling = recipe.task(old).network.scaling
    assert scaling.length == scaling.window + scaling.season
    assert recipe.task(old).network.output == Quantiles()
    assert recipe.task(spec).network.output == Quantiles(nonnegative=True)
