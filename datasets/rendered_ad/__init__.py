"""The embedded data set: images rendered by code, with MVTec AD's names of defects."""
