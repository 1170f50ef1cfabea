"""The published weights: names, official addresses, sizes, hashes, licences.

A sha256 is given where several independent public records agree on it. A file with None
is not pinned here.
"""

from dataclasses import dataclass
from typing import NamedTuple


class WeightFile(NamedTuple):
    """One file of a model. `sha256` is None for a file that is not pinned."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A single pickled file with its own address."""

    name: str
    file: WeightFile
    address: str
    licence: str


@dataclass(frozen=True)
class HubModel:
    """A folder of files on the Hugging Face hub, at one commit.

    Files that are not pinned here are checked against the sha256 that the hub recorded
    for the commit.
    """

    name: str
    repository: str
    revision: str | None
    files: tuple[WeightFile, ...]
    licence: str

    @property
    def address(self) -> str:
        return f"https://huggingface.co/{self.repository}"


def _segment_anything(name: str, file: WeightFile) -> Checkpoint:
    root = "https://dl.fbaipublicfiles.com/segment_anything"
    return Checkpoint(name, file, f"{root}/{file.name}", "Apache-2.0")


def _stable_diffusion(*, suffix: str) -> tuple[WeightFile, ...]:
    weights = f"diffusion_pytorch_model{suffix}.safetensors"
    return tuple(
        map(
            WeightFile,
            [
                "model_index.json",
                "scheduler/scheduler_config.json",
                "text_encoder/config.json",
                f"text_encoder/model{suffix}.safetensors",
                "tokenizer/merges.txt",
                "tokenizer/special_tokens_map.json",
                "tokenizer/tokenizer_config.json",
                "tokenizer/vocab.json",
                "unet/config.json",
                f"unet/{weights}",
                "vae/config.json",
                f"vae/{weights}",
            ],
        )
    )


_SAM_H = WeightFile(
    "sam_vit_h_4b8939.pth",
    2_564_550_879,
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
)
_SAM_L = WeightFile(
    "sam_vit_l_0b3195.pth",
    1_249_524_607,
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
)
_SAM_B = WeightFile(
    "sam_vit_b_01ec64.pth",
    375_042_383,
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
)
_DINO_T = WeightFile(
    "groundingdino_swint_ogc.pth",
    693_997_677,
    "3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
)
_BERT = (
    WeightFile("config.json"),
    WeightFile("tokenizer.json"),
    WeightFile("tokenizer_config.json"),
    WeightFile(
        "vocab.txt",
        231_508,
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    ),
)
_CLIP = (
    WeightFile("config.json"),
    WeightFile("merges.txt"),
    WeightFile("preprocessor_config.json"),
    WeightFile("special_tokens_map.json"),
    WeightFile("tokenizer_config.json"),
    WeightFile("vocab.json"),
    WeightFile(
        "model.safetensors",
        1_710_540_580,
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    ),
)

CHECKPOINTS = {
    entry.name: entry
    for entry in [
        _segment_anything("sam_vit_h", _SAM_H),
        _segment_anything("sam_vit_l", _SAM_L),
        _segment_anything("sam_vit_b", _SAM_B),
        Checkpoint(
            "groundingdino_swint_ogc",
            _DINO_T,
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/"
            f"v0.1.0-alpha/{_DINO_T.name}",
            "Apache-2.0",
        ),
    ]
}
HUB_MODELS = {
    entry.name: entry
    for entry in [
        HubModel(
            "stable-diffusion-v1-4",
            "CompVis/stable-diffusion-v1-4",
            "133a221b8aa7292a167afc5127cb63fb5005638b",
            _stable_diffusion(suffix=""),
            "CreativeML OpenRAIL-M",
        ),
        HubModel(
            "stable-diffusion-inpainting",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
            _stable_diffusion(suffix=".fp16"),  # its fp32 files are pickled
            "CreativeML OpenRAIL-M",
        ),
        HubModel(
            "bert-base-uncased",
            "google-bert/bert-base-uncased",
            "86b5e0934494bd15c9632b12f734a8a67f723594",
            _BERT,
            "Apache-2.0",
        ),
        HubModel(
            "clip-vit-large-patch14",
            "openai/clip-vit-large-patch14",
            "32bd64288804d66eefd0ccbe215aa642df71cc41",
            _CLIP,
            "MIT",
        ),
    ]
}


def known_model(name: str) -> HubModel | None:
    """The model of the table with this name, or with this repository on the hub."""
    by_repository = {model.repository: model for model in HUB_MODELS.values()}
    return HUB_MODELS.get(name) or by_repository.get(name)


def is_hub_name(name: str) -> bool:
    """Whether a name has the form `owner/name`."""
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))
