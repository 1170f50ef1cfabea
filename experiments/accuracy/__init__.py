"""The fixed evaluation: candidates measured on three data sets over several seeds."""
