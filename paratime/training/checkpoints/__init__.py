"""Checkpoints: how they are written, where they lie, and the tasks that are restored from them."""
