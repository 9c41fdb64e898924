"""Plans that are made with a trained model."""

from paratime.moved import old_names

__getattr__ = old_names(__name__)
