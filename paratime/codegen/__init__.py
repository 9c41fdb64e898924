"""Kernels for any cell, made from its ``step``: ``compiled_cell``."""

from paratime.codegen.running import compiled_cell

__all__ = ["compiled_cell"]
