"""The options that say how synthetic anomalies are made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from agm_torch.config import GeneratorConfig


@dataclass(frozen=True, kw_only=True)
class AnomalyOptions:
    """How many synthetic anomalies are made, by which Python and in what way."""

    agm_python: Annotated[Path | None, tyro.conf.arg(aliases=("--agm.python",))] = None
    """Python interpreter that runs the generator. Name one if torch is installed in
    another environment."""
    agm_workers: Annotated[int, tyro.conf.arg(aliases=("--agm.workers",))] = 1
    """Processes that generate anomalies at the same time. With several GPUs, each
    process uses one. The anomalies do not depend on this number."""
    agm: GeneratorConfig = field(default_factory=GeneratorConfig)
    """How synthetic anomalies are made."""
    anomalies: int = 96
    """Synthetic anomalies to train on, per category."""
    validation_anomalies: int = 16
    """Synthetic anomalies that are held out, per category. The best step and the
    threshold are chosen on them."""
