"""Settle what third-party libraries do while they are imported. To be imported first.

transformers and diffusers look for jax and TensorFlow and load them where they are
installed: seconds, and a second framework on the GPU that nobody asked for.
"""

import os

from agm_torch import torchvision_shim

os.environ.setdefault("USE_FLAX", "NO")
os.environ.setdefault("USE_TF", "NO")
torchvision_shim.install()
