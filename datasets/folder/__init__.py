"""The user's own photographs in the layout of MVTec AD."""
