"""What Lightning trains with: tasks, data modules, optimizers, samplers and callbacks."""
