"""Images rendered by code in the vocabulary of MVTec AD: the embedded data set."""
