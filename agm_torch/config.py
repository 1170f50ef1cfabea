"""What can be chosen about the making of anomalies. Standard library only."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from agm_torch.model_config import (
    DeviceConfig,
    DiffusionConfig,
    GroundedSamConfig,
    WeightsConfig,
    check_range,
)

Kind = Literal["texture", "object"]
MaskSource = Literal["perlin", "foreground", "grounded_sam"]
Engine = Literal["local", "ray"]

GENERATOR_VERSION = 5
"""Raised whenever the same configuration would give other bytes than before."""
MIN_IMAGE_PX = 32
PROMPT_BANK = Path(__file__).with_name("prompts.toml")
_PLACES_OF_MODELS = {
    "grounded_sam": ("sam", "sam_sha256", "dino", "dino_sha256", "bert"),
    "diffusion": ("model", "revision", "prompts", "clip"),
}
"""Fields that say where bytes come from; an identity holds what they are instead."""


def _check_weights(weights: Any) -> None:
    values = dataclasses.asdict(weights)
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"weight {name} must be 0 or more, got {value}")
    if not any(values.values()):
        raise ValueError(f"one of the weights {', '.join(values)} must be above 0")


@dataclass(frozen=True)
class ShapeWeights:
    """How often an anomaly takes which outline, relative to each other."""

    perlin: float = 3.0
    """Thresholded Perlin noise, as the paper and DRAEM have it."""
    spot: float = 3.0
    """One blob with a ragged or smooth outline."""
    scatter: float = 1.0
    """Several small blobs near each other: pits, dirt."""
    curve: float = 3.0
    """A thin line, smooth or jagged, with branches or without: scratch, crack."""
    polygon: float = 1.5
    """A straight-edged piece: chip, cut-out, label."""
    band: float = 0.7
    """A stripe across the image."""

    def __post_init__(self) -> None:
        _check_weights(self)


@dataclass(frozen=True)
class ContentWeights:
    """How often the weight-free generator changes what, relative to each other."""

    dtd: float = 3.0
    """A texture photograph from `dtd_dir`. Left out where none is given."""
    patches: float = 1.5
    """The image's own patches, shuffled and turned."""
    region: float = 1.5
    """Another region of this or another shot, turned and scaled."""
    noise: float = 2.0
    """Random fields of random colours, coarse to fine."""
    pattern: float = 1.0
    """Stripes, dots and checks."""
    tone: float = 3.0
    """Darker, brighter, tinted: a stain."""
    flat: float = 2.5
    """One colour, of the image or of its background: hole, missing or extra part."""
    relief: float = 2.0
    """Light and shadow of a dent, bump or groove."""
    blur: float = 0.7
    """Detail smoothed away."""
    grain: float = 0.7
    """Detail added: rough, dusty."""
    warp: float = 2.0
    """Pinch, bulge, swirl or shear: bent parts."""
    shift: float = 1.5
    """A piece moved from its place."""
    copy: float = 1.0
    """A piece of the image a second time."""
    remove: float = 1.5
    """Filled from its surroundings: the part is missing."""

    def __post_init__(self) -> None:
        _check_weights(self)


@dataclass(frozen=True)
class GeneratorConfig:
    """How one normal photograph becomes an anomalous one."""

    generator: Literal["texture", "diffusion"] = "texture"
    """texture: no weights. diffusion: Stable Diffusion, as the paper."""
    masks: Literal["auto", "perlin", "foreground", "grounded_sam"] = "auto"
    """Where anomalies may lie. auto: the whole image for textures; for objects the
    part, found without weights (texture) or by Grounding DINO and SAM (diffusion)."""
    dtd_dir: Path | None = None
    """Folder with texture photographs, e.g. DTD's `images`. Default: none."""
    beta_max: float = 0.8
    """Transparency is drawn from [0, beta_max]; less for structural changes."""
    min_area: float = 0.001
    """Smallest anomaly, as a share of the image."""
    max_area: float = 0.15
    """Largest anomaly, as a share of the image. Sizes are drawn log-uniformly."""
    min_change: float = 6.0
    """Smallest mean change inside the mask, in grey levels of 255."""
    min_contrast: float = 1.5
    """Smallest change of colour, structure, contrast or detail, relative to what the
    same texture shows by chance: below 1 it is just one more piece of it."""
    silhouette_share: float = 0.25
    """Share of an object's anomalies that may reach beyond its outline."""
    max_redraws: int = 24
    """Draws that fail a gate before a plain, always visible anomaly is taken."""
    records_per_shard: int = 64
    """Records in one file. A killed process loses at most one minute of work."""
    shapes: ShapeWeights = field(default_factory=ShapeWeights)
    content: ContentWeights = field(default_factory=ContentWeights)
    grounded_sam: GroundedSamConfig = field(default_factory=GroundedSamConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)

    def __post_init__(self) -> None:
        check_range("beta_max", self.beta_max, 0.0, 0.95)
        check_range("min_area", self.min_area, 1e-5, 0.9)
        check_range("max_area", self.max_area, self.min_area, 0.9)
        check_range("min_change", self.min_change, 0.0, 64.0)
        check_range("min_contrast", self.min_contrast, 0.0, 10.0)
        check_range("silhouette_share", self.silhouette_share, 0.0, 1.0)
        check_range("max_redraws", self.max_redraws, 1, 1000)
        check_range("records_per_shard", self.records_per_shard, 1, 100_000)
        if self.generator == "texture" and self.dtd_dir is None:
            weights = dataclasses.asdict(self.content)
            if not any(weight for name, weight in weights.items() if name != "dtd"):
                raise ValueError(
                    "content must have a weight above 0 beside dtd where dtd_dir names "
                    "no texture photographs"
                )

    def mask_source(self, kind: Kind) -> MaskSource:
        """Which of the three finds the place of an anomaly."""
        if self.masks != "auto":
            return self.masks
        if kind == "texture":
            return "perlin"
        return "grounded_sam" if self.generator == "diffusion" else "foreground"

    def models(
        self, kind: Kind
    ) -> tuple[GroundedSamConfig | None, DiffusionConfig | None]:
        """What finds parts and what paints, where that is a model; else None."""
        return (
            self.grounded_sam if self.mask_source(kind) == "grounded_sam" else None,
            self.diffusion if self.generator == "diffusion" else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, paths as text, as a manifest holds them."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    def identity(self, kind: Kind) -> dict[str, Any]:
        """What of the configuration decides the bytes, as far as it says.

        Where models run, more does, which is known on the machine that runs them alone:
        what `auto` is there, the versions of the libraries, the commit of a model on
        the hub that was named without one. See `agm_torch.made_with`.
        """
        values = self.to_json()
        values.pop("masks")
        values["mask_source"] = self.mask_source(kind)
        values["generator_version"] = GENERATOR_VERSION
        values["dtd_dir"] = self.dtd_dir and folder_sha256(self.dtd_dir)
        values.pop("weights")  # where files lie does not change what is in them
        sam, diffusion = self.models(kind)
        if not diffusion:
            values.pop("diffusion")
        if not sam:
            values.pop("grounded_sam")
        if not diffusion and not sam:
            values.pop("device")
            return values
        bank = self.diffusion.prompts or PROMPT_BANK
        values["prompts"] = hashlib.sha256(bank.read_bytes()).hexdigest()
        values["models"] = self._identities(kind)
        values["device"]["device"] = self.device.device.split(":")[0]
        for section, names in _PLACES_OF_MODELS.items():
            for name in names if section in values else ():
                values[section].pop(name)
        return values

    def _identities(self, kind: Kind) -> dict[str, str]:
        """What the models are, wherever their files lie."""
        from agm_torch.weights import model_identities  # needs more than the stdlib

        sam, diffusion = self.models(kind)
        return model_identities(self.weights, grounded_sam=sam, diffusion=diffusion)


def job_identity(
    config: GeneratorConfig,
    *,
    category: str,
    kind: Kind,
    count: int,
    seed: int,
    image_px: int,
    images: Sequence[str],
) -> dict[str, Any]:
    """What decides the bytes of a shard folder; its hash is the folder's name.

    All that does, for the generator without weights; see `GeneratorConfig.identity`.

    Args:
      images: sha256 of every normal image, in order.
    """
    return {
        "config": config.identity(kind),
        "category": category,
        "kind": kind,
        "count": count,
        "seed": seed,
        "image_px": image_px,
        "images": list(images),
    }


def config_from_json(values: dict[str, Any]) -> GeneratorConfig:
    """The inverse of `GeneratorConfig.to_json`.

    Raises:
      ValueError: a field is unknown, or its value is none that it takes.
    """
    return _from_json(GeneratorConfig, values)


def folder_sha256(folder: Path) -> str:
    """A name for a folder's contents: the files' names and sizes, without hidden ones.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"dtd_dir {folder} is not a folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = [(path.relative_to(folder), path.stat().st_size) for path in files]
    listing = [
        (str(name), size)
        for name, size in named
        if not any(part.startswith(".") for part in name.parts)
    ]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _from_json(cls: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(cls)
    unknown = set(values) - set(hints)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
    return cls(**{n: _decoded(n, hints[n], value) for n, value in values.items()})


def _decoded(name: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise ValueError(
            f"{name} must be one of {', '.join(get_args(hint))}, got {value!r}"
        )
    if dataclasses.is_dataclass(hint):
        return _from_json(hint, value)  # pyright: ignore[reportArgumentType]
    if hint == Path | None and value is not None:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
