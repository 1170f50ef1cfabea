"""What is measured of one category: metrics, ground truths, reconstructions, codes."""
