"""Tokens on disk: encoded once, in as many runs as it takes, and read through memory maps."""
