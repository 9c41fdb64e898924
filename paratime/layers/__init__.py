"""Layers: recurrences and the blocks around them, for whole sequences and for single steps."""
