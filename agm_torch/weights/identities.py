"""Identities of the chosen models, before their files are on this machine."""

from pathlib import Path

from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from agm_torch.weights.search import find_checkpoint, find_model
from agm_torch.weights.table import CHECKPOINTS, is_hub_name, known_model


def model_identities(
    config: WeightsConfig,
    *,
    grounded_sam: GroundedSamConfig | None,
    diffusion: DiffusionConfig | None,
) -> dict[str, str]:
    """Hashes and commits of the chosen models, wherever their files are.

    Opens no connection, and needs no file that the table knows. An identity equals
    `Found.identity` of the same model, with two exceptions: a hub model without a named
    commit is identified by `owner/name@main`, a checkpoint without a hash in the table
    by its address.

    Raises:
      FileNotFoundError: a user's own file or folder does not exist.
      ValueError: such a file does not have the required hash.
    """
    identities = {}
    if grounded_sam is not None:
        for name in ("sam", "dino"):
            chosen = getattr(grounded_sam, name)
            sha256 = getattr(grounded_sam, f"{name}_sha256")
            entry = CHECKPOINTS.get(chosen)
            identities[name] = (
                sha256 or entry.file.sha256 or entry.address
                if entry
                else find_checkpoint(chosen, config=config, sha256=sha256).identity
            )
        identities["bert"] = _model_identity(grounded_sam.bert, None, config)
    if diffusion is not None:
        identities["diffusion"] = _model_identity(
            diffusion.model_name, diffusion.revision, config
        )
        if diffusion.clip_margin is not None:
            identities["clip"] = _model_identity(diffusion.clip, None, config)
    return identities


def _model_identity(name: str, revision: str | None, config: WeightsConfig) -> str:
    entry = known_model(name)
    if entry is None and not Path(name).is_dir() and is_hub_name(name):
        return f"{name}@{revision or 'main'}"
    if entry is None:
        return find_model(name, config=config).identity
    return f"{entry.repository}@{revision or entry.revision}"
