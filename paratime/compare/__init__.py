"""Models side by side: the same budget, on every domain."""
