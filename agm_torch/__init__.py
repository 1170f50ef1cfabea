"""The Anomaly Generation Module: normal image in, anomalous image and mask out."""
