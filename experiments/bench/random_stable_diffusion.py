"""Stable Diffusion v1-4 in its published sizes, with random weights.

The model paints noise, but needs the time and memory of the published weights. With it,
speed can be measured where the weights cannot be downloaded.
"""

import importlib
import json
from pathlib import Path
from typing import Any


def save_random_stable_diffusion(folder: Path) -> Path:
    """`folder`, with the files of `CompVis/stable-diffusion-v1-4`: 2.1 GB in float16.

    The UNet has 860 million weights, the VAE 84 million, the text encoder 123 million.
    The function is long because it lists the published sizes.
    """
    import torch

    from agm_torch.content.pipelines import quiet  # sets how the libraries load

    # isort: split
    from transformers import CLIPTextConfig, CLIPTextModel

    diffusers: Any = importlib.import_module(
        "diffusers"
    )  # its type stubs are incomplete
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        unet = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
        sizes = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=77,
        )
        text_encoder = CLIPTextModel(sizes)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=letters_tokenizer(folder / "tokenizer"),
        unet=unet,
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with quiet():
        pipeline.to(dtype=torch.float16).save_pretrained(folder)
    return folder


def letters_tokenizer(folder: Path):
    """A byte-pair tokenizer without merges: one token per letter, 77 at most."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    merges.write_text("#version: 0.2\n")
    return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=77)
