"""Textures: an anomaly may be anywhere."""

import numpy as np
from jaxtyping import UInt8

from agm_torch.config import GeneratorConfig
from agm_torch.scene import Region


class WholeImage:
    """The region of every texture."""

    def __init__(self, config: GeneratorConfig) -> None:
        del config

    def regions(
        self, image: UInt8[np.ndarray, "h w 3"], category: str
    ) -> tuple[Region, ...]:
        return (Region(np.ones(image.shape[:2], bool), "whole image"),)
