"""# Forecasting with your own table

From a CSV file to probabilistic forecasts, a backtest and a picture. Everything happens on the
command line; the first section only makes a table to work with.
"""

# %%
# ## A table
#
# One row per series and date, with the columns `item_id`, `timestamp` and `target`. Here: 400 days
# of daily sales of six shops, with a weekly season. Yours may be CSV or Parquet, in any row order,
# and with gaps; see [the data formats](../../datasets/forecast/README.md).

import numpy as np
import pandas as pd
from tools import picture, shell

rng = np.random.default_rng(0)
days = pd.date_range("2023-01-01", periods=400, freq="D")
week = np.array([0.8, 0.9, 1.0, 1.0, 1.2, 1.6, 1.4])
tables = []
for shop in range(6):
    level = 20 + 10 * shop + np.cumsum(rng.normal(0, 0.4, len(days)))
    sales = rng.poisson(np.maximum(level, 1) * week[days.dayofweek])
    tables.append(pd.DataFrame({"item_id": f"shop {shop}", "timestamp": days, "target": sales}))
pd.concat(tables).to_csv("sales.csv", index=False)
print(pd.concat(tables).head(3).to_string(index=False))

# %%
# ## Look at it first
#
# `data` prints what paratime reads: the frequency, the lengths, the gaps, and what it suggests.

shell("paratime forecast data --data sales.csv")

# %%
# ## Train
#
# `fit` holds out windows at the end of each series. They choose the number of steps, how much of a
# statistical forecast to blend in, and the width of the intervals. Then a fresh network trains on
# everything. `--held_out 1` keeps one more window for the backtest below. `--max_steps` is small
# here, so that this page renders quickly; leave it out for your own data.

shell(
    "paratime forecast fit --data sales.csv --prediction_length 14 --held_out 1 "
    "--max_steps 60 --out shops"
)

# %%
# ## Score it on the window that it has never seen
#
# `backtest` compares with seasonal naive, and writes a page with charts and scores by series. Add
# `--baselines auto_ets,auto_theta` for statistical models.

shell("paratime forecast backtest --model shops --data sales.csv --windows 1 --out shops/backtest")

# %%
# ## Forecast
#
# One row per series, step and quantile, or a chart.

shell("paratime forecast predict --model shops --data sales.csv --out forecasts.csv")
print(pd.read_csv("forecasts.csv").head(3).to_string(index=False))
shell("paratime forecast plot --model shops --data sales.csv --out fan.png")
picture("fan.png", "Sales of six shops and their forecasts: medians, 80 % and 95 % intervals")

# %%
# ## Next
#
# - [Streaming forecasts](streaming.md): the same model, one new observation at a time.
# - [The guide](../guides/forecasting.md): covariates, labels, other columns, resuming, seasons.
