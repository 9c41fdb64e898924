"""Forecasting of numeric series: any table or dataset to batches, training, scores."""
