"""Tokens on disk: encoded once, by as many runs as it needs, and read from memory maps."""
