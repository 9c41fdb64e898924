"""The language model: its task, loss, metrics, sharding, scaling and footprint."""
