"""MVTec AD: fifteen industrial textures and objects."""
