"""Grounding DINO and SAM: the real classes, tiny, through the production loaders."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch", reason="the agm extra is not installed")
pytest.importorskip("groundingdino", reason="the agm extra is not installed")

from tests import tiny_models  # before all that imports torchvision

# isort: split
import torch
from segment_anything import sam_model_registry

from agm_torch.config import GeneratorConfig
from agm_torch.generator import AnomalyGenerator
from agm_torch.masks import sam as sam_module
from agm_torch.masks.grounded_sam import FALLBACK, GroundedSam, distinct
from agm_torch.masks.grounding_dino import GroundingDino
from agm_torch.masks.sam import load_sam, propose
from agm_torch.model_config import GroundedSamConfig, WeightsConfig
from agm_torch.weights.search import find_checkpoint
from agm_torch.weights.verification import Found
from tests.agm_images import part

CPU = torch.device("cpu")


class Models(NamedTuple):
    sam: Path
    dino: Path
    bert: Path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("grounded_sam")
    bert = tiny_models.save_bert(folder / "bert")
    return Models(
        tiny_models.save_sam(folder / "sam.pth"),
        tiny_models.save_dino(folder / "dino.pth", bert),
        bert,
    )


@pytest.fixture(scope="module")
def dino(models: Models) -> GroundingDino:
    return GroundingDino(_found(models.dino), models.bert, CPU)


@pytest.fixture(scope="module")
def source(models: Models) -> GroundedSam:
    return GroundedSam(_config(models))


def _config(models: Models, **options) -> GeneratorConfig:
    values = {
        "sam": str(models.sam),
        "dino": str(models.dino),
        "bert": str(models.bert),
        "box_threshold": 0.0,
        "text_threshold": 0.0,
        "detector_px": 64,
        "max_boxes": 3,
        "max_proposal": 0.99,
    }
    return GeneratorConfig(
        masks="grounded_sam",
        grounded_sam=GroundedSamConfig(**{**values, **options}),
        weights=WeightsConfig(folder=models.sam.parent / "weights", offline=True),
    )


def _found(path: Path) -> Found:
    config = WeightsConfig(folder=path.parent / "weights", offline=True)
    return find_checkpoint(str(path), config=config)


def _image() -> np.ndarray:
    return part(px=96)


def test_the_sam_of_the_file_is_the_sam_that_was_saved(models: Models) -> None:
    predictor = load_sam(_found(models.sam), CPU)
    saved = torch.load(models.sam, weights_only=True)
    loaded = predictor.model.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    blocks: Any = predictor.model.image_encoder.blocks
    assert [block.window_size for block in blocks] == [3, 3, 0]
    assert [block.attn.num_heads for block in blocks] == [2, 2, 2]
    assert predictor.model.pixel_mean.device == CPU


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_the_published_sizes_of_sam_are_read_from_their_tensors(size: str) -> None:
    with torch.device("meta"):  # shapes without memory
        official = sam_model_registry[size]()
        built = sam_module._build(official.state_dict())
    official_shapes = {n: t.shape for n, t in official.state_dict().items()}
    assert official_shapes == {n: t.shape for n, t in built.state_dict().items()}
    blocks: Any = zip(
        built.image_encoder.blocks, official.image_encoder.blocks, strict=True
    )
    for ours, theirs in blocks:
        assert ours.window_size == theirs.window_size
        assert ours.attn.num_heads == theirs.attn.num_heads
    assert built.image_encoder.img_size == official.image_encoder.img_size == 1024


def test_sam_proposes_three_outlines_a_box(models: Models) -> None:
    predictor = load_sam(_found(models.sam), CPU)
    boxes = np.array([[10, 10, 60, 50], [5, 5, 20, 20]], np.float32)
    proposals = propose(predictor, _image(), boxes)
    assert len(proposals) == 6
    assert all(p.mask.shape == (96, 96) and p.mask.dtype == bool for p in proposals)
    assert not np.array_equal(proposals[0].mask, proposals[1].mask)


def test_the_detector_loads_without_bert_weights_and_finds_boxes(
    models: Models, dino: GroundingDino, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not list(models.bert.glob("*.safetensors"))
    saved = torch.load(models.dino, weights_only=True)["model"]
    loaded = dino._model.state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    found = dino.detect(
        _image(), "a screw", box_threshold=0.0, text_threshold=0.0, detector_px=64
    )
    assert len(found.boxes) == len(found.scores) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all() and (found.boxes <= 96).all()
    assert capfd.readouterr().out == "", "standard output belongs to the caller"


def test_boxes_below_the_thresholds_are_left_out(dino: GroundingDino) -> None:
    def detect(box: float, text: float) -> int:
        found = dino.detect(
            _image(), "a nut", box_threshold=box, text_threshold=text, detector_px=64
        )
        assert (found.scores > box).all()
        return len(found.boxes)

    everything = detect(0.0, 0.0)
    assert everything == 12
    assert detect(1.0, 0.0) == 0
    assert detect(0.0, 1.0) == 0


def test_a_dino_that_lacks_tensors_is_refused(models: Models, tmp_path: Path) -> None:
    state = torch.load(models.dino, weights_only=True)["model"]
    del state["bert.encoder.layer.0.output.dense.weight"]
    torch.save({"model": state}, tmp_path / "lacking.pth")
    with pytest.raises(ValueError, match=r"lacks 1 tensors.*bert\.encoder\.layer\.0"):
        GroundingDino(_found(tmp_path / "lacking.pth"), models.bert, CPU)


def test_swapped_checkpoints_are_named(models: Models) -> None:
    with pytest.raises(ValueError, match=r"dino\.pth is not a SAM checkpoint"):
        load_sam(_found(models.dino), CPU)
    with pytest.raises(ValueError, match=r"sam\.pth is not a Grounding DINO checkpoi"):
        GroundingDino(_found(models.sam), models.bert, CPU)


def test_regions_are_outlines_of_plausible_size_and_repeat(
    models: Models, source: GroundedSam
) -> None:
    regions = source.regions(_image(), "screw")
    again = GroundedSam(_config(models)).regions(_image(), "screw")
    assert len(regions) == len(again) > 1
    for region, same in zip(regions, again, strict=True):
        assert region.how == "grounded_sam"
        assert 0.002 <= region.share <= 0.99
        assert np.array_equal(region.inside, same.inside)


def test_the_detectors_prompt_names_the_part_in_plain_english(
    source: GroundedSam, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = GroundingDino.detect

    def listen(self, image, caption, **options):
        asked.append(caption)
        return real(self, image, caption, **options)

    monkeypatch.setattr(GroundingDino, "detect", listen)
    source.regions(_image(), "metal_nut")
    source.regions(_image(), "pcb3")
    assert asked == ["a metal nut", "a printed circuit board"]


def test_without_boxes_the_foreground_is_used_and_recorded(
    models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(models, box_threshold=1.0)
    (region,) = GroundedSam(config).regions(_image(), "screw")
    assert region.how == FALLBACK
    assert 0.02 < region.share < 0.92
    assert "finds no 'a screw'" in caplog.text


def test_no_boxes_can_be_an_error(models: Models) -> None:
    config = _config(models, box_threshold=1.0, fallback="error")
    with pytest.raises(ValueError, match=r"finds no 'a screw' with box_threshold 1\.0"):
        GroundedSam(config).regions(_image(), "screw")


def test_missing_weights_are_named_before_any_image_is_read(models: Models) -> None:
    config = _config(models)
    config = dataclasses.replace(
        config, grounded_sam=dataclasses.replace(config.grounded_sam, sam="sam_vit_b")
    )
    with pytest.raises(FileNotFoundError, match=r"sam_vit_b_01ec64\.pth"):
        AnomalyGenerator(config, kind="object")


def test_an_anomaly_is_a_local_part_of_one_proposal(models: Models) -> None:
    config = dataclasses.replace(_config(models), silhouette_share=0.0)
    generator = AnomalyGenerator(config, kind="object")
    (scene,) = generator.scenes([_image()], category="screw")
    rngs = [np.random.default_rng((1, i)) for i in range(12)]
    for anomaly in generator.draw([scene] * 12, rngs):
        where = anomaly.mask > 0
        holders = [r for r in scene.regions if (where <= r.inside).all()]
        assert holders
        assert where.sum() < min(region.inside.sum() for region in holders)
        assert anomaly.provenance["region"] == "grounded_sam"


def test_nearly_equal_and_implausible_outlines_are_dropped() -> None:
    whole = np.ones((10, 10), bool)
    half = whole.copy()
    half[:5] = False
    almost = half.copy()
    almost[5, 0] = False
    dot = np.zeros((10, 10), bool)
    dot[0, 0] = True
    empty = np.zeros((10, 10), bool)
    kept = distinct([whole, half, almost, dot, empty], smallest=0.0, largest=0.9)
    assert [mask.sum() for mask in kept] == [50, 1]
    assert distinct([half, dot], smallest=0.02, largest=0.9)[0] is half
