"""DTD: photographs of textures, which synthetic anomalies are filled with."""
