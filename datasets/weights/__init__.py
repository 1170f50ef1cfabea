"""Files of pretrained weights: how they are downloaded and verified.

`agm_torch` and `lfq_jax` both use it, and neither imports the other.
"""
