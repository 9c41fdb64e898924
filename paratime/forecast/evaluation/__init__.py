"""Backtests: windows, metrics, baselines, charts and reports."""
