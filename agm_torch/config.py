"""Configuration of the anomaly generator. Imports the standard library alone."""

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
"""To be increased whenever the same configuration would give different bytes."""
MIN_IMAGE_PX = 32
PROMPT_BANK = Path(__file__).with_name("prompts.toml")
_LOCATION_FIELDS = {
    "grounded_sam": ("sam", "sam_sha256", "dino", "dino_sha256", "bert"),
    "diffusion": ("model", "revision", "prompts", "clip"),
}
"""Fields that name files or folders. An identity holds their hashes instead."""


def _check_weights(weights: Any) -> None:
    values = dataclasses.asdict(weights)
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"weight {name} must be 0 or more, got {value}")
    if not any(values.values()):
        raise ValueError(f"one of the weights {', '.join(values)} must be above 0")


@dataclass(frozen=True)
class ShapeWeights:
    """Relative frequencies of the outlines of anomalies."""

    perlin: float = 3.0
    """Thresholded Perlin noise, as in the paper and in DRAEM."""
    spot: float = 3.0
    """One blob with a ragged or smooth outline."""
    scatter: float = 1.0
    """Several small blobs near each other: pits, dirt."""
    curve: float = 3.0
    """A thin line, smooth or jagged, with or without branches: scratch, crack."""
    polygon: float = 1.5
    """A straight-edged piece: chip, cut-out, label."""
    band: float = 0.7
    """A stripe across the image."""

    def __post_init__(self) -> None:
        _check_weights(self)


@dataclass(frozen=True)
class ContentWeights:
    """Relative frequencies of the contents of the weight-free generator."""

    dtd: float = 3.0
    """A texture photograph from `dtd_dir`. Ignored without one."""
    patches: float = 1.5
    """The image's own patches, shuffled and rotated."""
    region: float = 1.5
    """Another region of this or another shot, rotated and scaled."""
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
    """How a normal image becomes an anomalous one."""

    generator: Literal["texture", "diffusion"] = "texture"
    """texture: no weights. diffusion: Stable Diffusion, as in the paper."""
    masks: Literal["auto", "perlin", "foreground", "grounded_sam"] = "auto"
    """Where anomalies may be. auto: the whole image for textures; for objects the
    part, found without weights (texture) or by Grounding DINO and SAM (diffusion)."""
    dtd_dir: Path | None = None
    """Folder with texture photographs, e.g. DTD's `images`. Default: none."""
    beta_max: float = 0.8
    """Largest transparency. It is drawn uniformly from 0 on, for structural changes
    from a smaller range."""
    min_area: float = 0.001
    """Smallest anomaly, as a share of the image."""
    max_area: float = 0.15
    """Largest anomaly, as a share of the image. Sizes are drawn log-uniformly."""
    min_change: float = 6.0
    """Smallest mean change inside the mask, in grey levels of 255."""
    min_contrast: float = 1.5
    """Smallest change of colour, structure, contrast or detail, relative to the
    texture's own variation. Below 1, an anomaly looks like one more piece of it."""
    silhouette_share: float = 0.25
    """Share of an object's anomalies that may reach beyond its outline."""
    max_redraws: int = 24
    """Draws that may fail a gate. Then a plain, always visible anomaly is taken."""
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
        """What finds the region of an anomaly: `masks`, with auto resolved."""
        if self.masks != "auto":
            return self.masks
        if kind == "texture":
            return "perlin"
        return "grounded_sam" if self.generator == "diffusion" else "foreground"

    def models(
        self, kind: Kind
    ) -> tuple[GroundedSamConfig | None, DiffusionConfig | None]:
        """Configurations of the models that find parts and that paint, or None."""
        return (
            self.grounded_sam if self.mask_source(kind) == "grounded_sam" else None,
            self.diffusion if self.generator == "diffusion" else None,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, with paths as text, as in a manifest."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    def identity(self, kind: Kind) -> dict[str, Any]:
        """The part of the configuration that decides the bytes.

        Where models run, the bytes also depend on the machine: on the device that
        `auto` selects, on the versions of the libraries, and on the commit of a hub
        model that was named without one. `agm_torch.engine.environment` records these.
        """
        values = self.to_json()
        values.pop("masks")
        values["mask_source"] = self.mask_source(kind)
        values["generator_version"] = GENERATOR_VERSION
        values["dtd_dir"] = self.dtd_dir and folder_sha256(self.dtd_dir)
        values.pop("weights")  # the location of files does not change their contents
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
        for section, names in _LOCATION_FIELDS.items():
            for name in names if section in values else ():
                values[section].pop(name)
        return values

    def _identities(self, kind: Kind) -> dict[str, str]:
        """Identities of the chosen models, wherever their files are."""
        # needs more than the standard library
        from agm_torch.weights.identities import model_identities

        sam, diffusion = self.models(kind)
        return model_identities(self.weights, grounded_sam=sam, diffusion=diffusion)


def job_identity(
    config: GeneratorConfig,
    *,
    category: str,
    kind: Kind,
    count: int,
    seed: int,
    size: tuple[int, int],
    images: Sequence[str],
) -> dict[str, Any]:
    """What decides the bytes of a shard folder. Its hash is the folder's name.

    Complete for the generator without weights; see `GeneratorConfig.identity`.

    Args:
      size: height and width of the anomalous images.
      images: sha256 of every normal image at that size, in order.
    """
    height, width = size
    return {
        "config": config.identity(kind),
        "category": category,
        "kind": kind,
        "count": count,
        "seed": seed,
        **({"image_px": height} if height == width else {"size_px": [*size]}),
        "images": list(images),
    }


def config_from_json(values: dict[str, Any]) -> GeneratorConfig:
    """The inverse of `GeneratorConfig.to_json`.

    Raises:
      ValueError: a field is unknown, or its value is not allowed.
    """
    return _from_json(GeneratorConfig, values)


def folder_sha256(folder: Path) -> str:
    """Hash of the names and sizes of a folder's photographs.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    from datasets.listing import list_photographs  # imports Pillow

    if not folder.is_dir():
        raise FileNotFoundError(f"dtd_dir {folder} is not a folder")
    files = list_photographs(folder).files
    listing = [(str(file.relative_to(folder)), file.stat().st_size) for file in files]
    return hashlib.sha256(json.dumps(["photographs", listing]).encode()).hexdigest()


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
