"""The published weights: where they come from, where they are, and whether whole."""
