"""The Anomaly Generation Module: a normal image in, an anomalous image and its mask out."""
