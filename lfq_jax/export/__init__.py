"""A detector for other programs: ONNX, StableHLO, safetensors."""
