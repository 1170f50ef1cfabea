"""Stable Diffusion: the real classes, tiny, through the production loading code."""

import dataclasses
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import GeneratorConfig
from agm_torch.model_config import DeviceConfig, DiffusionConfig, WeightsConfig
from agm_torch.prompts import PromptPair

pytest.importorskip("torch", reason="the agm extra is not installed")
pytest.importorskip("diffusers", reason="the agm extra is not installed")

from tests import tiny_models  # before all that imports torchvision

# isort: split
import torch

from agm_torch.content.diffedit import DiffEdit
from agm_torch.content.diffusion import DiffusionContent
from agm_torch.content.inpaint import Inpaint
from agm_torch.content.painting import Job, as_bytes
from agm_torch.device import placement
from agm_torch.generator import AnomalyGenerator
from tests.agm_images import part, texture

WHERE = placement(DeviceConfig())
PROMPTS = PromptPair("broken screw with defect", "perfect screw")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of Stable Diffusion, by the number of input channels of the UNet."""
    folder = tmp_path_factory.mktemp("diffusion")
    return {
        channels: tiny_models.save_stable_diffusion(
            folder / f"sd{channels}", channels=channels
        )
        for channels in (4, 9)
    }


@pytest.fixture(scope="module")
def diffedit(folders: dict[int, Path]) -> DiffEdit:
    return DiffEdit(folders[4], DiffusionConfig(steps=4), WHERE)


def _config(folder: Path, **options: Any) -> GeneratorConfig:
    options = {"model": str(folder), "steps": 3, **options}
    return GeneratorConfig(
        generator="diffusion",
        masks="foreground",
        diffusion=DiffusionConfig(**options),
        weights=WeightsConfig(folder=folder.parent / "weights", offline=True),
        min_contrast=0.0,  # a random model paints what it likes
        min_change=0.5,
    )


def _job(seed: int = 0, prompts: PromptPair = PROMPTS) -> Job:
    image = Image.fromarray(texture(px=64))
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    return Job(image, mask, prompts, seed)


def _rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, i)) for i in range(count)]


def test_the_published_layout_loads_with_deterministic_samplers(
    diffedit: DiffEdit,
) -> None:
    pipeline = diffedit._pipeline
    assert type(pipeline).__name__ == "StableDiffusionDiffEditPipeline"
    assert type(pipeline.vae).__name__ == "AutoencoderKL"
    assert type(pipeline.text_encoder).__name__ == "CLIPTextModel"
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    assert type(pipeline.inverse_scheduler).__name__ == "DDIMInverseScheduler"
    assert pipeline.scheduler.config.beta_start == 0.00085
    assert pipeline.scheduler.config.clip_sample is False
    assert pipeline.safety_checker is None
    assert diffedit.model_px == tiny_models.MODEL_PX


def test_a_record_is_bit_equal_when_painted_again(
    diffedit: DiffEdit, folders: dict[int, Path]
) -> None:
    first = diffedit.paint([_job(seed=3)])
    diffedit.paint([_job(seed=4)])
    assert np.array_equal(first, diffedit.paint([_job(seed=3)]))
    loaded_again = DiffEdit(folders[4], DiffusionConfig(steps=4), WHERE)
    assert np.array_equal(first, loaded_again.paint([_job(seed=3)]))


def test_prompts_and_seed_both_reach_the_picture(diffedit: DiffEdit) -> None:
    base = diffedit.paint([_job()]).astype(int)
    for job in (
        _job(seed=1),
        _job(prompts=PROMPTS._replace(positive="scratched screw")),
        _job(prompts=PROMPTS._replace(negative="clean surface")),
    ):
        assert np.abs(diffedit.paint([job]) - base).max() > 0


def test_a_batch_paints_what_its_jobs_paint_alone(diffedit: DiffEdit) -> None:
    jobs = [_job(seed=seed) for seed in range(3)]
    together = diffedit.paint(jobs).astype(int)
    alone = np.concatenate([diffedit.paint([job]) for job in jobs])
    assert np.abs(together - alone).max() <= 2


def test_unmasked_latents_are_those_of_the_normal_image(
    diffedit: DiffEdit, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    vae: Any = diffedit._pipeline.vae
    real = vae.decode
    monkeypatch.setattr(
        vae, "decode", lambda z, **kw: decoded.append(z.clone()) or real(z, **kw)
    )
    diffedit.paint([_job()._replace(mask=np.zeros((8, 8), bool))])
    diffedit.paint([_job()])
    untouched, painted = decoded
    inside = torch.from_numpy(_job().mask).expand_as(painted)
    assert torch.equal(painted[~inside], untouched[~inside])
    assert (painted[inside] != untouched[inside]).all()


@pytest.mark.parametrize("channels", [4, 9])
def test_inpainting_takes_both_kinds_of_model(
    folders: dict[int, Path], channels: int
) -> None:
    painter = Inpaint(folders[channels], DiffusionConfig(steps=3, strength=1.0), WHERE)
    first = painter.paint([_job(seed=1)])
    assert first.shape == (1, 64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, painter.paint([_job(seed=1)]))
    assert not np.array_equal(first, painter.paint([_job(seed=2)]))


def test_diffedit_refuses_an_inpainting_model(folders: dict[int, Path]) -> None:
    with pytest.raises(ValueError, match=r"inpainting model \(9 input channels\)"):
        DiffEdit(folders[9], DiffusionConfig(), WHERE)


def test_a_folder_with_half_precision_files_only_is_loaded(
    folders: dict[int, Path], tmp_path: Path
) -> None:
    from agm_torch.content.pipelines import InpaintPipeline, load_pipeline

    whole = load_pipeline(InpaintPipeline, folders[9], WHERE)
    whole.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    assert not list((tmp_path / "half").rglob("model.safetensors"))
    painter = Inpaint(tmp_path / "half", DiffusionConfig(steps=2), WHERE)
    assert painter._pipeline.unet.dtype == torch.float32
    assert painter.paint([_job()]).shape == (1, 64, 64, 3)


def test_a_damaged_model_folder_is_one_clear_line(
    folders: dict[int, Path], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(folders[4], tmp_path / "sd")
    weights = tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded as Stable Diffusion") as no:
        DiffEdit(tmp_path / "sd", DiffusionConfig(), WHERE)
    assert "\n" not in str(no.value)


def test_values_that_are_not_finite_are_an_error_and_no_black_image() -> None:
    images = np.zeros((1, 8, 8, 3), np.float32)
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="use precision bf16 or fp32"):
        as_bytes(images, torch.float16)


def test_half_precision_is_refused_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="precision fp16 is for a GPU"):
        placement(DeviceConfig(device="cpu", precision="fp16"))
    with pytest.raises(ValueError, match="device 'gpu0' cannot be used"):
        placement(DeviceConfig(device="gpu0"))


def test_an_anomaly_leaves_the_rest_of_the_image_untouched_bit_for_bit(
    folders: dict[int, Path],
) -> None:
    image = part(px=96)[:, :64]
    generator = AnomalyGenerator(_config(folders[4]))
    anomaly = generator(image, category="screw", rng=np.random.default_rng(0))
    outside = anomaly.mask == 0
    assert 0 < outside.mean() < 1
    assert np.array_equal(anomaly.image[outside], image[outside])
    assert (anomaly.image[~outside] != image[~outside]).any(axis=-1).mean() > 0.5


def test_the_provenance_names_model_prompts_and_window(
    folders: dict[int, Path],
) -> None:
    config = _config(folders[4], positive=("rusty {class_name}",), negative=("new",))
    generator = AnomalyGenerator(config)
    rng = np.random.default_rng(0)
    made = generator(part(px=64), category="metal_nut", rng=rng).provenance
    assert made["content"] == "diffedit"
    assert (made["positive"], made["negative"]) == ("rusty metal nut", "new")
    assert made["model"].startswith("sha256:")
    assert made["prompt_bank"] == 1
    assert len(made["window"]) == 4
    assert "cut_by_clip" not in made


def test_words_cut_by_clip_are_in_the_provenance(
    folders: dict[int, Path],
) -> None:
    long = " ".join(["broken"] * 15)
    generator = AnomalyGenerator(_config(folders[4], positive=(long,)))
    rng = np.random.default_rng(0)
    made = generator(part(px=64), category="screw", rng=rng).provenance
    assert made["cut_by_clip"] == [
        "broken broken broken"[-len(made["cut_by_clip"][0]) :]
    ]


def test_records_do_not_depend_on_what_is_drawn_beside_them(
    folders: dict[int, Path],
) -> None:
    config = _config(folders[4])
    generator = AnomalyGenerator(config)
    images = [part(seed=seed, px=64) for seed in range(2)]
    first, second = generator.scenes(images, category="screw")
    together = generator.draw([first, second, first], _rngs(3))
    alone = AnomalyGenerator(config).draw([first], _rngs(3)[2:])[0]
    assert np.array_equal(together[2].image, alone.image)
    assert together[2].provenance == alone.provenance


def test_images_of_several_sizes_are_painted_in_one_draw(
    folders: dict[int, Path],
) -> None:
    generator = AnomalyGenerator(_config(folders[4]))
    images = [part(px=96)[:, :64], part(px=64)]
    scenes = generator.scenes(images, category="screw")
    drawn = generator.draw(scenes, _rngs(2))
    assert [anomaly.image.shape for anomaly in drawn] == [(96, 64, 3), (64, 64, 3)]


def test_a_gpus_batch_is_always_full_so_that_all_have_one_shape(
    folders: dict[int, Path],
) -> None:
    content: Any = DiffusionContent(_config(folders[4]))
    painter, batch = content._loaded()
    assert batch == content.batch == 1, "the CPU paints one at a time"
    sizes = []

    class Listening:
        tokenizer, model_px = painter.tokenizer, painter.model_px

        def paint(self, jobs):
            sizes.append(len(jobs))
            return painter.paint(jobs)

    content._painter = Listening(), 2  # as on a GPU with batch = 2
    generator = AnomalyGenerator(_config(folders[4]))
    generator._content = content
    scenes = generator.scenes([part(px=64)], category="screw")
    drawn = generator.draw(scenes * 3, _rngs(3))
    assert len(drawn) == 3 and set(sizes) == {2}


def test_weights_are_loaded_at_the_first_draw_but_missing_ones_named_before(
    folders: dict[int, Path],
) -> None:
    assert DiffusionContent(_config(folders[4]))._painter is None
    config = _config(folders[4], model="stable-diffusion-v1-4")
    with pytest.raises(FileNotFoundError, match=r"CompVis/stable-diffusion-v1-4"):
        AnomalyGenerator(config)


def test_offline_drawing_opens_no_connection(
    folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    generator = AnomalyGenerator(_config(folders[4]))
    rng = np.random.default_rng(0)
    assert generator(part(px=64), category="screw", rng=rng).mask.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, "strength must lie in (0, 1], got 0.0"),
        ({"steps": 1, "strength": 0.5}, "steps * strength must be at least 1"),
        ({"batch": 0}, "batch must lie in [1, 1024], got 0"),
        ({"crop": 0.5}, "crop must lie in [1.0, 100.0], got 0.5"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        DiffusionConfig(**options)
    assert message in str(caught.value)


def test_an_empty_prompt_is_an_error(folders: dict[int, Path]) -> None:
    with pytest.raises(ValueError, match=r"diffusion.positive is empty"):
        _config(folders[4], positive=(" ",))


def test_clip_refuses_images_unlike_the_prompt(
    folders: dict[int, Path], tmp_path: Path
) -> None:
    clip = tiny_models.save_clip(tmp_path / "clip")
    image = part(px=64)

    def draw(margin: float):
        config = _config(folders[4], clip_margin=margin, clip=str(clip))
        config = dataclasses.replace(config, max_redraws=2)
        rng = np.random.default_rng(0)
        return AnomalyGenerator(config)(image, category="screw", rng=rng).provenance

    assert -2 <= draw(-2.0)["clip_margin"] <= 2
    refused = draw(2.0)
    assert refused["content"] == "plain"
    assert refused["rejects"]["clip_margin"] >= 1


def test_clips_margin_is_odd_in_its_prompts_and_repeats(tmp_path: Path) -> None:
    from agm_torch.content.clip_gate import ClipGate

    folder = tiny_models.save_clip(tmp_path / "clip")
    gate = ClipGate(folder, torch.device("cpu"))
    margin = gate.margin(part(), PROMPTS)
    assert margin != 0
    swapped = PromptPair(PROMPTS.negative, PROMPTS.positive)
    assert gate.margin(part(), swapped) == pytest.approx(-margin, abs=1e-6)
    assert gate.margin(part(), PromptPair("same", "same")) == 0
    assert ClipGate(folder, torch.device("cpu")).margin(part(), PROMPTS) == margin
