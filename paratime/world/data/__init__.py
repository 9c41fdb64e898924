"""Episodes as training batches."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
