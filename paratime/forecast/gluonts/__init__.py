"""Training and forecasts under the interfaces of GluonTS."""
