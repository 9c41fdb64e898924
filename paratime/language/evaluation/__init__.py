"""Scores of a trained model on texts."""
