"""The tensors of a weights file, by the names in the file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lfq_jax.backbones.published import IMAGENET


class Tensors:
    """Tensors by name. Records which were used, so that none is overlooked."""

    def __init__(self, path: Path, found: Mapping[str, np.ndarray]) -> None:
        self.path = path
        self._found = found
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @property
    def names(self) -> list[str]:
        """The names of all tensors, sorted."""
        return sorted(self._found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor; ValueError if it is missing."""
        if name not in self._found:
            raise ValueError(f"{self.path} lacks the tensor {name}")
        return self._found[name].shape

    def take(self, name: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        """The tensor `name`, which must have this shape, in float32.

        Raises:
          ValueError: if the tensor is missing, has another shape, or holds a value that
            is not a finite number.
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
        """A convolution's kernel, transposed from torch's [out in h w].

        Args:
          name: name of the tensor.
          shape: shape of the result, (height, width, in, out).
        """
        height, width, inputs, outputs = shape
        torch_kernel = self.take(name, (outputs, inputs, height, width))
        return torch_kernel.transpose(2, 3, 1, 0)

    def folded(
        self, name: str, norm: str, shape: tuple[int, ...], *, epsilon: float
    ) -> tuple[Float[np.ndarray, "h w i o"], Float[np.ndarray, "o"]]:
        """Kernel and bias equal to a convolution and its batch norm, in inference.

        Args:
          name: the convolution, which has a weight and no bias.
          norm: the batch norm.
          shape: shape of the kernel, as for `kernel`.
          epsilon: the batch norm's, which is added to the variance.
        """
        kernel = self.kernel(f"{name}.weight", shape)
        gain, bias, mean, variance = (
            self.take(f"{norm}.{part}", kernel.shape[-1:])
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + np.float32(epsilon))
        return kernel * scale, bias - mean * scale

    def refuse_others(
        self, ignored: tuple[str, ...], *, endings: tuple[str, ...] = ()
    ) -> None:
        """Refuse tensors that were not used, since they may change the features.

        Args:
          ignored: prefixes of names that may be unused, such as a classifier's.
          endings: suffixes of such names.

        Raises:
          ValueError: if a tensor is neither used nor ignored.
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
    """Mean and standard deviation of ImageNet's channels, RGB in [0, 1]."""
    mean, deviation = (np.asarray(values, np.float32) for values in IMAGENET)
    return mean, deviation
