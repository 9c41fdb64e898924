"""How a forecaster is fitted: windows held out, statistical members, steps, and calibration."""
