"""Products in full float32, where an accelerator would round their factors."""

import jax

exact_products = jax.default_matmul_precision("highest")
"""Decorator. Unasked, a GPU multiplies float32 with 10 bits of TF32 and a TPU with 8 of
bfloat16: too few for distances, which are small differences of large products, and for
maps that an export on a CPU has to find again. A CPU computes the same bits with it."""
