"""The TFDS builder of DTD (Cimpoi et al., CVPR 2014).

Synthetic anomalies are filled with these textures. TensorFlow Datasets has its own
`dtd`, which needs TensorFlow. After `import datasets`, `tfds.builder("dtd")` returns
the builder in this file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

from datasets.builder import ALL, configurations
from datasets.images import image_sha256, read_image
from datasets.listing import list_photographs
from datasets.progress import Bar
from datasets.published import ALLOW_PARTIAL
from datasets.source import Official, locate
from datasets.spill import shuffling_on_disk

PHOTOGRAPHS = 120  # per texture: 5640 in total
TEXTURES = tuple(
    "banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched "
    "crystalline dotted fibrous flecked freckled frilly gauzy grid grooved honeycombed "
    "interlaced knitted lacelike lined marbled matted meshed paisley perforated pitted "
    "pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained "
    "stratified striped studded swirly veined waffled woven wrinkled zigzagged".split()
)
OFFICIAL = Official(
    name="dtd",
    page="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    archive="dtd-r1.0.1.tar.gz",
    sha256="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
    folders=("images", "dtd/images", "dtd"),
)


class Dtd(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """DTD: 5640 photographs of 47 textures, as JPEG, in one split `train`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download {OFFICIAL.archive} from {OFFICIAL.page} and put the archive, or its "
        "folder images, into manual_dir."
    )
    BUILDER_CONFIGS: ClassVar = configurations(dict.fromkeys(TEXTURES))
    shows_progress = True

    def __init__(self, *, allow_partial: bool = False, **options: Any) -> None:
        self.allow_partial = allow_partial
        options.setdefault("file_format", "array_record")
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features
        return self.dataset_info_from_configs(
            features=features.FeaturesDict(
                {
                    "key": features.Text(),
                    "texture": features.ClassLabel(names=TEXTURES),
                    "image": features.Image(shape=(None, None, 3)),
                    "source": features.Text(),
                    "sha256": features.Text(),
                }
            ),
        )

    def _download_and_prepare(self, *arguments: Any, **options: Any) -> None:
        with shuffling_on_disk():
            super()._download_and_prepare(*arguments, **options)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        assert self.builder_config is not None  # TFDS picks the first by default
        name = self.builder_config.name
        files: list[Path] = []
        for texture in TEXTURES if name == ALL else (name,):
            files += self._files(texture, Path(dl_manager.manual_dir))
        return {"train": self._generate_examples(files)}

    def _files(self, texture: str, data_dir: Path) -> list[Path]:
        scratch = Path(self.data_dir_root)
        root = locate(OFFICIAL, texture, data_dir, scratch=scratch)
        files = list_photographs(root / texture).files
        if not files or (len(files) != PHOTOGRAPHS and not self.allow_partial):
            raise ValueError(
                f"{root / texture} must hold {PHOTOGRAPHS} photographs, found "
                f"{len(files)}. {ALLOW_PARTIAL}"
            )
        return files

    def _generate_examples(
        self, files: list[Path]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        bar = Bar(files, "preparing dtd", disable=not self.shows_progress)
        for path in bar:
            key = f"{path.parent.name}/{path.stem}"
            yield (
                key,
                {
                    "key": key,
                    "texture": path.parent.name,
                    "image": path.read_bytes(),  # encoding again would lose quality
                    "source": f"{path.parent.name}/{path.name}",
                    "sha256": image_sha256(read_image(path)),
                },
            )


class _Provider(registered.DatasetBuilderProvider):
    """Is asked before TFDS's registry, so that this `dtd` replaces that of TFDS."""

    def has_dataset(self, name: str) -> bool:
        return name == OFFICIAL.name

    def get_builder_cls(self, name: str) -> Any:
        del name
        return Dtd


def register() -> None:
    """Make `tfds.builder("dtd")` return the builder of this file."""
    registered.add_dataset_builder_provider(_Provider(), index=0)
