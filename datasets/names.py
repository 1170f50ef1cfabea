"""The names of the data sets. Standard library only."""

NAMES = ("rendered_ad", "mvtec_ad", "visa", "elpv", "folder")
