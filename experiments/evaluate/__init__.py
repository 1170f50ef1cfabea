"""Score the anomaly maps of any detector against the masks of a data set."""
