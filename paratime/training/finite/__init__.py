"""Keeps runs finite: steps that are skipped, weights that are not saved, scores that count."""
