"""Recurrences h[t] = step(u[t], h[t-1]), one a file, each with its equation."""
