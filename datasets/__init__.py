"""Data sets, few-shot selections and shards: everything that defines an image.

Importing this package registers its TFDS builders, which need no TensorFlow. The
package imports neither jax nor torch.
"""

from datasets.dtd.builder import register as _register_dtd
from datasets.example import Example
from datasets.examples import Examples
from datasets.leaks import Leak, check_leaks
from datasets.load import camera_bits, categories, load
from datasets.names import NAMES
from datasets.shots import Shots, shots

_register_dtd()

__all__ = [
    "NAMES",
    "Example",
    "Examples",
    "Leak",
    "Shots",
    "camera_bits",
    "categories",
    "check_leaks",
    "load",
    "shots",
]
