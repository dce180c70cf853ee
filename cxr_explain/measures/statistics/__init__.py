"""Statistics of samples: intervals, discrimination, calibration."""
