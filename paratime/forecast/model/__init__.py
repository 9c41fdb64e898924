"""The forecasting model: its task, network, scaling, outputs and metrics."""
