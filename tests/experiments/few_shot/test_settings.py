"""Defaults of the main job that depend on the preset, the machine and the shots."""

import pytest

from datasets.example import Kind
from experiments.few_shot.settings import read_settings
from tests.tiny_run import shots_of


def test_convolutions_are_in_bfloat16_on_an_accelerator():
    def read(*argv: str, has_accelerator: bool) -> tuple[str, str]:
        found = read_settings(argv, has_accelerator=lambda: has_accelerator)
        return found.preset, found.model.compute_dtype

    assert read(has_accelerator=False) == ("best", "float32")
    assert read(has_accelerator=True) == ("best", "bfloat16")
    assert read("--preset", "paper", has_accelerator=True) == ("paper", "bfloat16")
    twice = ("--preset", "paper", "--preset=cpu")
    assert read(*twice, has_accelerator=False) == ("cpu", "float32")
    explicit = ("--model.compute-dtype", "float32")
    assert read(*explicit, has_accelerator=True) == ("best", "float32")


def model_of(kind: Kind, *shapes: tuple[int, int], flags: tuple[str, ...] = ()):
    """The networks for a category whose shots have these shapes."""
    settings = read_settings(flags, has_accelerator=lambda: False)
    return settings.for_shots(shots_of(kind, *shapes)).model


def test_categories_are_trained_larger_if_their_shots_are_larger():
    def px(kind: Kind, *sides: int, flags: tuple[str, ...] = ()) -> int:
        return model_of(kind, *((side, side) for side in sides), flags=flags).image_px

    assert px("texture", 1024, 700) == 384
    assert px("texture", 1024, 330) == 320
    assert px("texture", 1024, 130) == px("object", 1024, 1024) == 256
    assert px("texture", 700, flags=("--preset", "cpu")) == 256
    assert px("texture", 700, flags=("--preset", "paper")) == 256
    assert px("texture", 700, flags=("--model.image-px", "128")) == 128
    assert px("texture", 700, flags=("--texture-px", "320")) == 320
    assert px("texture", 700, flags=("--model.image_px=128",)) == 128
    both = ("--model.image-px", "128", "--texture-px", "320")
    assert px("texture", 700, flags=both) == 320
    assert px("texture", 700, flags=("--texture-px", "0")) == 256
    assert px("object", 700, flags=("--object-px", "320")) == 320
    assert px("object", 300, flags=("--object-px", "320")) == 288
    both = ("--model.image-px", "128", "--object-px", "320")
    assert px("object", 700, flags=both) == 320


def test_the_networks_images_have_the_proportion_of_the_shots():
    assert model_of("object", (700, 700)).size == (256, 256)
    assert model_of("object", (400, 1000)).size == (160, 400)
    assert model_of("object", (1000, 400)).size == (400, 160)
    assert model_of("texture", (400, 1000)).size == (240, 608)
    assert model_of("texture", (100, 250)).size == (160, 400)
    assert model_of("object", (400, 1000), (1000, 400)).size == (256, 256)
    assert model_of("object", (400, 1000), (400, 1000), (500, 500)).size == (160, 400)
    square = ("--model.fit", "square")
    assert model_of("texture", (330, 1000), flags=square).size == (320, 320)
    fixed = ("--model.size-px", "64", "128")
    assert model_of("texture", (330, 1000), flags=fixed).size == (64, 128)


def test_shots_that_are_too_elongated_are_refused():
    with pytest.raises(
        ValueError, match=r"shots good/0 of plate: .*up to 1:64 fit; use"
    ):
        model_of("object", (100, 9000))
    assert model_of("object", (100, 9000), flags=("--model.fit", "square"))
