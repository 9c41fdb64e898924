"""Solvers of h[t] = step(u[t], h[t-1]) for all t, for any ``Cell``."""
