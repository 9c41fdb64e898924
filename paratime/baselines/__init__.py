"""Mixers to compare with, one file each, under the contract of ``paratime.layers.mixer``."""
