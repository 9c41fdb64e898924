"""World models: networks, rollouts, tasks and metrics."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
