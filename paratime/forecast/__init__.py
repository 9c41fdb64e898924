"""Probabilistic forecasts of numeric series: training, streaming, backtests, and GluonTS.

- Data: ``SeriesData``, ``SeriesSpec``, ``Collection``, ``from_gluonts``, ``read_table``,
  ``summarize``.
- Sources: ``Source``, ``Table``, ``JsonLines``, ``Competition``, ``TsData``, ``Channels``,
  ``InMemory``, ``series_source``.
- Model: ``ForecastTask``, with an ``Output``: ``Quantiles``, ``StudentT``, ``Gaussian``,
  ``NegativeBinomial`` or ``Mixture``.
- Forecasts: ``forecast``, ``sample_paths``, ``Forecaster`` (streaming), and a ``ForecastType``:
  ``AsQuantiles``, ``AsSamples`` or ``AsDistribution``.
- GluonTS: ``ParaRNNEstimator``, ``ParaRNNPredictor``, ``Recipe``, ``load_forecaster``.
- Backtests: ``backtest``, ``Backtest``, ``rolling``, ``RollingWindows``, ``score_table``,
  ``write_series``, ``write_backtest_report``.
- Models to compare with: ``BASELINES``, ``seasonal_naive``, ``statistical``, ``deepar``,
  ``from_predictor``.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.forecast.data.datamodule import SeriesData as SeriesData
    from paratime.forecast.data.series import Collection as Collection
    from paratime.forecast.data.series import from_gluonts as from_gluonts
    from paratime.forecast.data.sources.base import InMemory as InMemory
    from paratime.forecast.data.sources.base import Source as Source
    from paratime.forecast.data.sources.catalog import series_source as series_source
    from paratime.forecast.data.sources.channels import Channels as Channels
    from paratime.forecast.data.sources.competitions import Competition as Competition
    from paratime.forecast.data.sources.competitions import TsData as TsData
    from paratime.forecast.data.sources.json_lines import JsonLines as JsonLines
    from paratime.forecast.data.sources.table import Table as Table
    from paratime.forecast.data.sources.table import read_table as read_table
    from paratime.forecast.data.spec import SeriesSpec as SeriesSpec
    from paratime.forecast.data.summary import summarize as summarize
    from paratime.forecast.evaluation.backtest import Backtest as Backtest
    from paratime.forecast.evaluation.backtest import backtest as backtest
    from paratime.forecast.evaluation.baselines import BASELINES as BASELINES
    from paratime.forecast.evaluation.baselines import deepar as deepar
    from paratime.forecast.evaluation.baselines import from_predictor as from_predictor
    from paratime.forecast.evaluation.baselines import seasonal_naive as seasonal_naive
    from paratime.forecast.evaluation.baselines import statistical as statistical
    from paratime.forecast.evaluation.report import score_table as score_table
    from paratime.forecast.evaluation.report import write_backtest_report as write_backtest_report
    from paratime.forecast.evaluation.report import write_series as write_series
    from paratime.forecast.evaluation.rolling import RollingWindows as RollingWindows
    from paratime.forecast.evaluation.rolling import rolling as rolling
    from paratime.forecast.gluonts.estimator import ParaRNNEstimator as ParaRNNEstimator
    from paratime.forecast.gluonts.predictor import ParaRNNPredictor as ParaRNNPredictor
    from paratime.forecast.gluonts.predictor import load_forecaster as load_forecaster
    from paratime.forecast.gluonts.recipe import Recipe as Recipe
    from paratime.forecast.inference.direct import forecast as forecast
    from paratime.forecast.inference.forecast_type import AsDistribution as AsDistribution
    from paratime.forecast.inference.forecast_type import AsQuantiles as AsQuantiles
    from paratime.forecast.inference.forecast_type import AsSamples as AsSamples
    from paratime.forecast.inference.forecast_type import ForecastType as ForecastType
    from paratime.forecast.inference.sample_paths import sample_paths as sample_paths
    from paratime.forecast.model.outputs import Gaussian as Gaussian
    from paratime.forecast.model.outputs import Mixture as Mixture
    from paratime.forecast.model.outputs import NegativeBinomial as NegativeBinomial
    from paratime.forecast.model.outputs import Output as Output
    from paratime.forecast.model.outputs import Quantiles as Quantiles
    from paratime.forecast.model.outputs import StudentT as StudentT
    from paratime.forecast.model.task import ForecastTask as ForecastTask
    from paratime.forecast.streaming.forecaster import Forecaster as Forecaster

__getattr__, __dir__, __all__ = lazy.attach(__name__)
