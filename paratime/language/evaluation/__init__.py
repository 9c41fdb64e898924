"""Scores of texts by a trained model."""
