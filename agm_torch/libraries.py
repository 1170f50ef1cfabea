"""Settings for the import of third-party libraries. To be imported before them.

transformers and diffusers import jax and TensorFlow where they are installed. That
takes seconds, and puts a second framework on the GPU that nobody needs.
"""

import os

from agm_torch import torchvision_shim

os.environ.setdefault("USE_FLAX", "NO")
os.environ.setdefault("USE_TF", "NO")
torchvision_shim.install()
