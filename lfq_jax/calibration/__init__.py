"""How scores become decisions: rules, thresholds, calibrated scores. numpy only."""
