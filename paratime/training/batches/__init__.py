"""Batches: windows of what lies end to end, in orders that processes share and runs resume."""
