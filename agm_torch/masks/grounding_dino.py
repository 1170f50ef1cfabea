"""Grounding DINO: a part's name in, boxes out. Uses the official implementation.

As in `sam.py`, the sizes are read from the checkpoint. The checkpoint also has the
weights of the text encoder, so of BERT only the tokenizer and the sizes are needed.
"""

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)

# isort: split
import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from transformers import BertConfig, BertModel

from agm_torch.weights.verification import Found, load_checkpoint

with warnings.catch_warnings():  # it imports timm by a deprecated name
    warnings.simplefilter("ignore", FutureWarning)
    import groundingdino.datasets.transforms as T
    from groundingdino import config as official_configs
    from groundingdino.models import build_model
    from groundingdino.util import get_tokenlizer
    from groundingdino.util.inference import predict
    from groundingdino.util.misc import clean_state_dict
    from groundingdino.util.slconfig import SLConfig

_CONFIG_BY_WIDTH = {96: "GroundingDINO_SwinT_OGC.py", 128: "GroundingDINO_SwinB_cfg.py"}
_LONGEST_PER_SHORTEST = 1333 / 800
_IMAGENET_MEAN = [0.485, 0.456, 0.406]
_IMAGENET_STD = [0.229, 0.224, 0.225]


class Detections(NamedTuple):
    """The boxes found, best first."""

    boxes: Float[np.ndarray, "n 4"]
    """(left, top, right, bottom) in pixels, within the image."""
    scores: Float[np.ndarray, "n"]
    """Confidence in [0, 1]."""


class GroundingDino:
    """The detector with its weights."""

    def __init__(self, found: Found, bert: Path, device: torch.device) -> None:
        """Load the model of a checked checkpoint.

        Args:
          bert: folder with BERT's `config.json` and tokenizer.

        Raises:
          ValueError: the file is not a Grounding DINO checkpoint, or its text encoder
            is not that of `bert`.
        """
        state = load_checkpoint(found)
        try:
            state = clean_state_dict(state["model"])
            model = _build(state, bert, device)
            missing, _ = model.load_state_dict(state, strict=False)
        except (KeyError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{found.path} is not a Grounding DINO checkpoint ({reason})"
            ) from None
        if missing:  # the official loader leaves these random
            raise ValueError(
                f"{found.path} lacks {len(missing)} tensors of Grounding DINO, the "
                f"first of them {missing[0]}"
            )
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = str(device)

    def detect(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        caption: str,
        *,
        box_threshold: float,
        text_threshold: float,
        detector_px: int,
    ) -> Detections:
        """Boxes around what the caption names, possibly none.

        Args:
          caption: e.g. "a screw".
          box_threshold: boxes of lower confidence are dropped.
          text_threshold: boxes are dropped unless a word of the caption reaches this
            confidence.
          detector_px: shorter side of the image that the detector is given.
        """
        with _quiet():
            boxes, scores, phrases = predict(
                self._model,
                _input_tensor(image, detector_px),
                caption,
                box_threshold,
                text_threshold,
                device=self._device,
            )
        named = torch.tensor([bool(p.strip()) for p in phrases], dtype=torch.bool)
        boxes, scores = boxes[named].numpy(), scores[named].numpy()
        corners = _corners(boxes, image.shape[0], image.shape[1])
        order = np.argsort(-scores, kind="stable")
        return Detections(corners[order], scores[order])


def _build(state: dict[str, Tensor], bert: Path, device: torch.device):
    """The official model, with the sizes of the checkpoint's tensors."""
    width = state["backbone.0.patch_embed.proj.weight"].shape[0]
    folder = Path(official_configs.__file__).parent
    args = SLConfig.fromfile(str(folder / _CONFIG_BY_WIDTH[width]))
    encoder, decoder = "transformer.encoder.layers.", "transformer.decoder.layers."
    attention = state[f"{encoder}0.self_attn.attention_weights.weight"].shape[0]
    args.device = str(device)
    args.text_encoder_type = str(bert)
    args.use_checkpoint = args.use_transformer_ckpt = False  # for training only
    args.enc_layers = _count(state, encoder)
    args.dec_layers = _count(state, decoder)
    args.dim_feedforward = state[f"{encoder}0.linear1.weight"].shape[0]
    args.num_queries = state["transformer.tgt_embed.weight"].shape[0]
    args.nheads = attention // (args.num_feature_levels * args.enc_n_points)
    with _bert_without_weights(), _quiet():
        return build_model(args)


@contextlib.contextmanager
def _bert_without_weights() -> Iterator[None]:
    """Let the library build BERT from its sizes alone.

    It would load 440 MB of weights, which the checkpoint replaces at once.
    """
    official = get_tokenlizer.get_pretrained_language_model
    get_tokenlizer.get_pretrained_language_model = lambda folder: BertModel(
        BertConfig.from_pretrained(folder, local_files_only=True)
    )
    try:
        yield
    finally:
        get_tokenlizer.get_pretrained_language_model = official


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the library prints to standard output, which is the caller's."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # meshgrid without indexing
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # arguments that transformers 5 drops
        yield


def _input_tensor(image: UInt8[np.ndarray, "h w 3"], shorter_px: int) -> Tensor:
    longest = round(shorter_px * _LONGEST_PER_SHORTEST)
    steps = [
        T.RandomResize([shorter_px], max_size=longest),  # one size: nothing is random
        T.ToTensor(),
        T.Normalize(_IMAGENET_MEAN, _IMAGENET_STD),
    ]
    prepared, _ = T.Compose(steps)(Image.fromarray(image), None)
    assert isinstance(prepared, Tensor)
    return prepared


def _corners(
    boxes: Float[np.ndarray, "n 4"], height: int, width: int
) -> Float[np.ndarray, "n 4"]:
    """Corners in pixels, within the image, from relative centres and sizes."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    limits = np.array([width, height, width, height], np.float32)
    return (corners * limits).clip(0, limits)


def _count(state: dict[str, Tensor], prefix: str) -> int:
    numbers = {
        key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)
    }
    return len(numbers)
