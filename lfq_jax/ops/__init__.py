"""Array operations without a model."""
