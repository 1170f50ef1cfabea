"""Score a folder of photographs with a trained detector."""
