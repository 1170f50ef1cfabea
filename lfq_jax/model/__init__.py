"""The networks: a quantized autoencoder and a discriminator (paper, section 3)."""
