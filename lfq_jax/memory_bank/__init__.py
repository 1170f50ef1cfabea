"""The shots' patches, and how far an image is from them."""
