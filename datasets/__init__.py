"""What an image is: data sets, few-shot selections, shards.

Importing this package registers its TFDS builders, which need no TensorFlow. jax and
torch are never imported from here.
"""

from datasets.example import Example
from datasets.load import categories, load
from datasets.names import NAMES
from datasets.shots import Shots, shots

__all__ = ["NAMES", "Example", "Shots", "categories", "load", "shots"]
