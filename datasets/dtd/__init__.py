"""DTD: photographs of textures, the contents of synthetic anomalies."""
