"""From photographs of good parts to a trained detector."""
