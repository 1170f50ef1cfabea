"""The device on which models run, and their number format."""

from typing import NamedTuple

import torch

from agm_torch.model_config import DeviceConfig

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Placement(NamedTuple):
    """A device, and the number format of the large parts that need less precision."""

    device: torch.device
    dtype: torch.dtype


def placement(config: DeviceConfig) -> Placement:
    """Device and number format of a configuration.

    Sets the number of torch threads of this process, and deterministic kernels.

    Raises:
      ValueError: there is no such device, or half precision is wanted on the CPU.
    """
    torch.set_num_threads(config.threads)
    device = _device(config.device)
    if device.type == "cpu":
        if config.precision not in ("auto", "fp32"):
            raise ValueError(
                f"precision {config.precision} is for a GPU; the CPU computes in fp32"
            )
        return Placement(device, torch.float32)
    torch.backends.cudnn.benchmark = False  # else runs differ in their kernels
    torch.backends.cudnn.deterministic = True
    if config.precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Placement(device, torch.bfloat16 if has_bf16 else torch.float16)
    return Placement(device, _DTYPES[config.precision])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used: {reason}") from None
    return device
