"""The type of one image of an anomaly-detection data set."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

Kind = Literal["texture", "object"]


class Example(NamedTuple):
    """One photograph with its ground truth.

    `label` is 1 if the photograph shows a defect, else 0. `mask` is True at the
    defect's pixels, and False everywhere for a good part.
    """

    key: str
    category: str
    kind: Kind
    defect: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    label: int
    sha256: str
