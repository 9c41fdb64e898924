"""Mixers side by side: the same budget, on every kind of data."""
