"""The tensors of a weights file, taken one by one under the names it gives them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Tensors:
    """Tensors by name. Remembers which were taken, so that none is passed over."""

    def __init__(self, path: Path, found: Mapping[str, np.ndarray]) -> None:
        self.path = path
        self._found = found
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @property
    def names(self) -> list[str]:
        return sorted(self._found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that must be there."""
        if name not in self._found:
            raise ValueError(f"{self.path} lacks the tensor {name}")
        return self._found[name].shape

    def take(self, name: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        """The tensor of that name and shape, in float32.

        Raises:
          ValueError: where it is missing, of another shape, or not of finite numbers.
        """
        if self.shape(name) != shape:
            raise ValueError(
                f"{self.path}: the tensor {name} must have shape {shape}, got "
                f"{self.shape(name)}"
            )
        self._taken.add(name)
        found = self._found[name]
        if found.dtype.kind not in "USOMm":  # bfloat16's kind is V
            tensor = found.astype(np.float32)
            if np.isfinite(tensor).all():
                return tensor
        raise ValueError(f"{self.path}: the tensor {name} must hold finite numbers")

    def kernel(self, name: str, shape: tuple[int, ...]) -> Float[np.ndarray, "h w i o"]:
        """A convolution's kernel, which torch keeps as [out in h w].

        Args:
          shape: (height, width, in, out), as it is returned.
        """
        height, width, inputs, outputs = shape
        torch_kernel = self.take(name, (outputs, inputs, height, width))
        return torch_kernel.transpose(2, 3, 1, 0)

    def refuse_others(
        self, ignored: tuple[str, ...], *, endings: tuple[str, ...] = ()
    ) -> None:
        """Make sure that nothing was passed over that would change the features.

        Args:
          ignored: beginnings of names that may be left, such as a classifier's.
          endings: endings of such names.

        Raises:
          ValueError: for a tensor that was neither taken nor is ignored.
        """
        left = [n for n in self.names if n not in self._taken]
        unknown = [
            name
            for name in left
            if not name.startswith(ignored) and not name.endswith(endings)
        ]
        if unknown:
            raise ValueError(
                f"{self.path}: the tensor {unknown[0]} is unknown to this architecture"
            )


def imagenet_input() -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Mean and standard deviation of ImageNet's channels, red first, white being 1."""
    mean = np.asarray(IMAGENET_MEAN, np.float32)
    return mean, np.asarray(IMAGENET_DEVIATION, np.float32)
