"""World models: action-conditioned trajectories, imagination and planning."""
