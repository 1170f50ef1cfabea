"""The real classes of the diffusion path, tiny and random, saved as published ones are.

Everything here is written to disk only; the production code loads it.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

import agm_torch.masks.grounding_dino  # noqa: F401  (settles how libraries load)

# isort: split
import importlib
import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import groundingdino.config
import torch
import transformers
from groundingdino.models import build_model
from groundingdino.util.slconfig import SLConfig
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from experiments.bench.random_stable_diffusion import letters_tokenizer

torch.set_num_threads(1)
diffusers: Any = importlib.import_module("diffusers")  # its stubs are too narrow

SAM_PX = 64
"""Longer side of what the tiny SAM sees."""
MODEL_PX = 64
"""Side of what the tiny Stable Diffusion was made for."""
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "screw", "nut"]


def save_sam(path: Path, *, seed: int = 0) -> Path:
    """A `.pth` as Meta publishes it: the bare state dict."""
    torch.manual_seed(seed)
    patch, dim, prompt_dim = 8, 32, 32
    grid = SAM_PX // patch
    norm: Any = partial(torch.nn.LayerNorm, eps=1e-6)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=3,
            embed_dim=dim,
            img_size=SAM_PX,
            mlp_ratio=2,
            norm_layer=norm,
            num_heads=2,
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(2,),
            window_size=3,
            out_chans=prompt_dim,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(SAM_PX, SAM_PX),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=1, embedding_dim=prompt_dim, mlp_dim=48, num_heads=8
            ),
            transformer_dim=prompt_dim,
            iou_head_depth=2,
            iou_head_hidden_dim=24,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    torch.save(sam.state_dict(), path)
    return path


def save_bert(folder: Path) -> Path:
    """Tokenizer and sizes of a text encoder, and no weights."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(_WORDS) + "\n")
    tokenizer = transformers.BertTokenizerFast(
        vocab_file=str(folder / "vocab.txt"), do_lower_case=True
    )
    tokenizer.save_pretrained(folder)
    transformers.BertConfig(
        vocab_size=len(_WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    ).save_pretrained(folder)
    return folder


def save_dino(path: Path, bert: Path, *, seed: int = 0) -> Path:
    """A `.pth` as IDEA Research publishes it: `{"model": state dict}`.

    Its Swin backbone is the real one; the library builds no smaller.
    """
    import transformers.models.bert as bert_models

    official = Path(groundingdino.config.__file__).parent
    args = SLConfig.fromfile(str(official / "GroundingDINO_SwinT_OGC.py"))
    args.device, args.use_checkpoint = "cpu", False
    args.enc_layers = args.dec_layers = 1
    args.num_queries, args.dim_feedforward, args.nheads = 12, 64, 4
    torch.manual_seed(seed)
    with_weights = path.parent / "bert_with_weights"
    bert_models.BertModel(
        transformers.BertConfig.from_pretrained(bert)
    ).save_pretrained(with_weights)
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(with_weights)
    args.text_encoder_type = str(with_weights)
    with warnings.catch_warnings():  # it calls meshgrid without indexing
        warnings.simplefilter("ignore", UserWarning)
        torch.save({"model": build_model(args).state_dict()}, path)
    return path


def save_stable_diffusion(folder: Path, *, channels: int = 4, seed: int = 0) -> Path:
    """A folder as `CompVis/stable-diffusion-v1-4` has it, PNDM scheduler and all.

    Args:
      channels: of the UNet's input; 9 is an inpainting model.
    """
    torch.manual_seed(seed)
    tokenizer = _clip_tokenizer(folder / "tokenizer")
    pipeline = diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(
            transformers.CLIPTextConfig(**_text_sizes(tokenizer))
        ),
        tokenizer=tokenizer,
        unet=_unet(channels),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index.pop("requires_safety_checker", None)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def save_clip(folder: Path, *, seed: int = 0) -> Path:
    """A folder as `openai/clip-vit-large-patch14` has it."""
    torch.manual_seed(seed)
    tokenizer = _clip_tokenizer(folder)
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=_text_sizes(tokenizer),
        vision_config={
            **vision,
            "intermediate_size": 37,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=16,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size=size
    ).save_pretrained(folder)
    return folder


def _unet(channels: int):
    return diffusers.UNet2DConditionModel(
        sample_size=MODEL_PX // 8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def _vae():
    return diffusers.AutoencoderKL(
        block_out_channels=[8, 8, 8, 8],
        latent_channels=4,
        norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    )


def _text_sizes(tokenizer) -> dict:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "projection_dim": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _clip_tokenizer(folder: Path):
    """CLIP's byte-pair tokenizer with no merges: one token a letter."""
    tokenizer = letters_tokenizer(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
