"""Learning, scoring and measuring: the JAX side of LFQUIAD."""
