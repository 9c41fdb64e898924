"""From tables of series to forecasts: training, predictions, backtests and charts."""

from paratime.cli.parser import commands_in, run_commands

COMMANDS = ("fit", "predict", "backtest", "plot", "data")
"""Each is the function ``run`` of the module of its name."""


def main() -> None:
    """Run ``paratime forecast ...`` from ``sys.argv``."""
    run_commands("paratime forecast", commands_in(__name__, COMMANDS), str(__doc__))
