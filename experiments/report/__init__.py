"""The page about a run: its metrics, pictures, plots and tables."""
