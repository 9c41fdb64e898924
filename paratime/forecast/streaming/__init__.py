"""Forecasts of series that continue, one observation at a time."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
