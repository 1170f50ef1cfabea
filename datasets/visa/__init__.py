"""VisA: twelve objects with small defects."""
