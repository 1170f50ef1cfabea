"""Defaults of the main job that depend on the preset, the machine and the shots."""

from experiments.few_shot.settings import read_settings


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


def test_textures_are_trained_larger_if_their_shots_are_larger():
    def px(kind: str, *sides: int, flags: tuple[str, ...] = ()) -> int:
        settings = read_settings(flags, has_accelerator=lambda: False)
        return settings.for_category(kind, sides).model.image_px

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
