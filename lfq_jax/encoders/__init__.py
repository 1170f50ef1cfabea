"""Frozen, pretrained networks that say what an image shows, read from a file.

encoder = load_encoder("squeezenet.npz")
fire3, fire5 = encoder.features(images, stages=("fire3", "fire5"))
"""

from lfq_jax.encoders.encoder import Encoder, Network, Stage
from lfq_jax.encoders.load import load_encoder

__all__ = ["Encoder", "Network", "Stage", "load_encoder"]
