"""Linear recurrences over time: schemas, gradients and reference kernels."""
