"""Trained models in the formats of other libraries and programs."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
