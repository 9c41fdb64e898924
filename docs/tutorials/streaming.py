"""# Streaming forecasts

A recurrent network carries its state. When a new observation arrives, a `Forecaster` updates that
state: the cost does not depend on the length of the history. This is incremental inference; the
weights stay as they are.
"""

# %%
# ## A forecaster
#
# Train on what exists. `ParaRNNEstimator` takes the place of GluonTS's `DeepAREstimator`; it needs
# no `context_length`, since training and forecasts see the whole history.

import numpy as np
import pandas as pd

from paratime.forecast import Forecaster, ParaRNNEstimator

rng = np.random.default_rng(0)
hours = np.arange(24 * 30)


def load(machine, hours):
    """Return the load of a machine, with a daily season and noise."""
    return 10 + 3 * machine + 4 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.5, len(hours))


start = pd.Period("2024-01-01 00:00", "h")
data = [{"item_id": f"machine {i}", "start": start, "target": load(i, hours)} for i in range(4)]
estimator = ParaRNNEstimator("h", prediction_length=12, hidden_size=32, max_steps=40)
predictor = estimator.train(data)

# %%
# ## Read the history once
#
# `add` reads a series and keeps its state. From then on the history is not needed.

forecaster = Forecaster(predictor.task)
for entry in data:
    forecaster.add(entry)
print(forecaster.predict("machine 2").quantile(0.5).round(1))

# %%
# ## Update, one observation at a time
#
# The state moves on by one step. Late and repeated observations are ignored and counted.

new = load(2, np.arange(24 * 30, 24 * 30 + 6))
stamps = pd.period_range(start + 24 * 30, periods=6, freq="h")
for stamp, value in zip(stamps, new, strict=True):
    forecaster.update("machine 2", str(stamp), value)
forecaster.update("machine 2", str(stamps[0]), 99.0)  # an hour that came before
print(forecaster.predict("machine 2").start_date, forecaster.late)

# %%
# ## The same forecast as from the whole history
#
# Streaming is not an approximation. Reading all steps at once gives the same quantiles, up to
# rounding.

whole = data[2] | {"target": np.concatenate([data[2]["target"], new])}
again = Forecaster(predictor.task)
again.add(whole)
gap = forecaster.predict("machine 2").quantile(0.9) - again.predict("machine 2").quantile(0.9)
print(f"largest difference: {np.abs(gap).max():.1e}")

# %%
# ## Next
#
# A forecaster can be saved and loaded, and updates many series in one call: see
# [`Forecaster`](../api/forecast.md).
