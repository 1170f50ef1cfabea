"""Matrix products in full float32 on accelerators, which round factors by default."""

import jax

exact_products = jax.default_matmul_precision("highest")
"""Decorator for exact float32 products.

By default a GPU multiplies float32 with TF32's 10 bits, and a TPU with bfloat16's 8.
That is too few for distances, which are small differences of large products. It is also
too few for exports, which must reproduce the maps on a CPU. On a CPU the decorator
changes no bits."""
