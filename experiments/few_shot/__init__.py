"""The main job: train a detector on a few good parts and measure it."""
