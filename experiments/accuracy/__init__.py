"""The fixed evaluation: candidates measured on seven data sets over several seeds."""
