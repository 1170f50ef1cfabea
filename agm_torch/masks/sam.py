"""Segment Anything: boxes in, outlines out. Uses the official implementation.

The architecture is read from the checkpoint, so one loader handles vit_b, vit_l, vit_h
and any other size of the family.
"""

import agm_torch.libraries  # noqa: F401  (before all that imports torchvision)

# isort: split
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor

from agm_torch.weights.verification import Found, load_checkpoint

_PIXEL_MEAN = [123.675, 116.28, 103.53]
_PIXEL_STD = [58.395, 57.12, 57.375]
_DECODER_HEADS = 8
"""The only size that no tensor shows. All published checkpoints have it."""


class Proposal(NamedTuple):
    """An outline that SAM proposes for a box."""

    mask: Bool[np.ndarray, "h w"]
    score: float
    """SAM's estimate of the overlap with the object, approximately in [0, 1]."""


def load_sam(found: Found, device: torch.device) -> SamPredictor:
    """Load the model of a checked checkpoint.

    Raises:
      ValueError: the file is not a SAM checkpoint.
    """
    state = load_checkpoint(found)
    try:
        with torch.device(
            "meta"
        ):  # no random weights, which take time and are replaced
            sam = _build(state)
        sam.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, ZeroDivisionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{found.path} is not a SAM checkpoint ({reason})") from None
    # not part of the checkpoint
    sam.pixel_mean = torch.tensor(_PIXEL_MEAN).view(-1, 1, 1)
    sam.pixel_std = torch.tensor(_PIXEL_STD).view(-1, 1, 1)
    return SamPredictor(sam.eval().requires_grad_(False).to(device))


def propose(
    predictor: SamPredictor,
    image: UInt8[np.ndarray, "h w 3"],
    boxes: Float[np.ndarray, "n 4"],
) -> list[Proposal]:
    """Three outlines per box: the whole object, a part, a part of the part.

    Args:
      boxes: (left, top, right, bottom) in pixels.
    """
    predictor.set_image(image)
    proposals = []
    for box in boxes:
        masks, scores, _ = predictor.predict(box=box, multimask_output=True)
        proposals += [
            Proposal(np.asarray(mask, dtype=bool), float(score))
            for mask, score in zip(masks, scores, strict=True)
        ]
    predictor.reset_image()
    return proposals


def _build(state: dict[str, Tensor]) -> Sam:
    encoder = _encoder_options(state)
    grid = encoder["img_size"] // encoder["patch_size"]
    tokens, embed_dim = state["mask_decoder.mask_tokens.weight"].shape
    iou_head = "mask_decoder.iou_prediction_head.layers"
    transformer = "mask_decoder.transformer.layers"
    return Sam(
        image_encoder=ImageEncoderViT(**encoder),
        prompt_encoder=PromptEncoder(
            embed_dim=embed_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(encoder["img_size"], encoder["img_size"]),
            mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=tokens - 1,
            transformer=TwoWayTransformer(
                depth=_count(state, transformer),
                embedding_dim=embed_dim,
                mlp_dim=state[f"{transformer}.0.mlp.lin1.weight"].shape[0],
                num_heads=_DECODER_HEADS,
            ),
            transformer_dim=embed_dim,
            iou_head_depth=_count(state, iou_head),
            iou_head_hidden_dim=state[f"{iou_head}.0.weight"].shape[0],
        ),
        pixel_mean=_PIXEL_MEAN,
        pixel_std=_PIXEL_STD,
    )


def _encoder_options(state: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of `ImageEncoderViT`, from the shapes of its tensors."""
    blocks = "image_encoder.blocks"
    depth = _count(state, blocks)
    dim, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    grid = state["image_encoder.pos_embed"].shape[1]
    relative = [state[f"{blocks}.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    attended = [(length + 1) // 2 for length, _ in relative]  # length = 2 * side - 1
    windows = [side for side in attended if side != grid]
    return {
        "depth": depth,
        "embed_dim": dim,
        "img_size": grid * patch,
        "mlp_ratio": state[f"{blocks}.0.mlp.lin1.weight"].shape[0] / dim,
        "norm_layer": partial(torch.nn.LayerNorm, eps=1e-6),
        "num_heads": dim // relative[0][1],
        "patch_size": patch,
        "qkv_bias": True,
        "use_rel_pos": True,
        "global_attn_indexes": [i for i, side in enumerate(attended) if side == grid],
        "window_size": windows[0] if windows else 0,
        "out_chans": state["image_encoder.neck.0.weight"].shape[0],
    }


def _count(state: dict[str, Tensor], prefix: str) -> int:
    """Number of numbered layers below a prefix."""
    start = len(prefix) + 1
    numbers = {key[start:].split(".")[0] for key in state if key.startswith(prefix)}
    return len(numbers)
