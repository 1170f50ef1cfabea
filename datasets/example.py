"""What one image of an anomaly-detection data set is."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

Kind = Literal["texture", "object"]


class Example(NamedTuple):
    """One photograph with its ground truth.

    `label` is 1 where the photograph shows a defect. `mask` is True where the
    defect is, and all False for a good part.
    """

    key: str
    category: str
    kind: Kind
    defect: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    label: int
    sha256: str
