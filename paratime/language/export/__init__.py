"""Trained models for other programs."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
