"""Training from end to end on tiny images: learning, resuming, refusing."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lfq_jax.config import (
    AugmentConfig,
    MemoryBankConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from lfq_jax.inference.predictor import predict
from lfq_jax.model.lfquiad import Model
from lfq_jax.quantizers.config import LFQConfig
from lfq_jax.training import loop as training
from lfq_jax.training.data import Photographs, split
from lfq_jax.training.loop import Trained, train

MODEL = ModelConfig(
    image_px=32,
    stem=4,
    reconstructive_widths=(8, 12),
    discriminative_widths=(8, 12),
    quantizer=LFQConfig(bits=6),
    memory_bank=MemoryBankConfig(levels=2, patches=128, window=1),
    kernels="he",
    prior=0.05,
)
PLAIN = dataclasses.replace(MODEL, memory_bank=None)  # compiles faster
TRAIN = TrainConfig(
    epochs=6,
    epoch_images=32,
    batch_size=4,
    log_every=8,
    crop_px=16,
    good_images=4,
    validate_every_epochs=2,
    reconstructive_learning_rate=3e-3,
    discriminative_learning_rate=3e-3,
    augment=AugmentConfig(noise=0.02, brightness=0.03),
)
SCORE = ScoreConfig(image_score="smoothed_max", batch_size=4)


def photographs(count: int = 16) -> Photographs:
    """Noisy grey parts, and the same with a bright or dark square."""
    rng = np.random.default_rng(0)
    normals = rng.integers(110, 140, (2, 32, 32, 3)).astype(np.uint8)
    sources = np.arange(count, dtype=np.int32) % 2
    images, masks = normals[sources].copy(), np.zeros((count, 32, 32), np.uint8)
    for i in range(count):
        row, column = rng.integers(0, 22, 2)
        masks[i, row : row + 9, column : column + 9] = 1
        images[i][masks[i] > 0] = 240 if i % 2 else 20
    return Photographs(normals, images, masks, sources)


def run(folder: Path, **changes) -> Trained:
    data, held_out = split(photographs(), held_out=4)
    options = {
        "model_config": MODEL,
        "train_config": TRAIN,
        "score_config": SCORE,
        "is_texture": True,
        "seed": 0,
        "folder": folder,
    }
    return train(data, held_out, **(options | changes))


INPUTS = {"shots": {"0": "ab"}, "shards": "key"}


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(whole_folder) -> Trained:
    """A training from its first step to its last, in `whole_folder`."""
    return run(whole_folder, inputs=INPUTS)


def _leaves(trained: Trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)]


def test_a_detector_finds_what_it_learnt_and_what_it_never_saw(whole):
    trained = whole
    assert trained.validation["pixel_auroc"] is not None
    assert trained.validation["pixel_auroc"] > 0.9
    part = np.random.default_rng(9).integers(110, 140, (40, 50, 3)).astype(np.uint8)
    broken = part.copy()
    broken[10:22, 20:34] = (230, 30, 30)
    good, bad = predict(trained.scorer, trained.variables, [part, broken], batch_size=2)
    assert bad.scores["smoothed_max"] > good.scores["smoothed_max"]
    row, column = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 6 <= row <= 19
    assert 11 <= column <= 23


def test_the_reader_has_its_share_in_scoring(whole):
    trained = whole
    reader = trained.variables.logistic_head
    assert reader is not None
    image = photographs().images[0]
    config = trained.scorer.model.config
    assert config.memory_bank is not None
    # as little of the grain as can be: it depends on what else is found
    reference = dataclasses.replace(config.memory_bank, orientation_weight=1e-9)
    model = Model(dataclasses.replace(config, reference=reference))

    def both(variables):
        outputs, _ = model.apply(
            variables, jnp.asarray(image[None]) / 255.0, training=False
        )
        both = outputs.logits[0], outputs.of_score[0]
        return [np.asarray(each[..., 1] - each[..., 0]) for each in both]

    def log_odds(variables):
        return both(variables)[0]

    alone = log_odds(trained.variables._replace(reader=None))
    silent = reader._replace(weights=0 * reader.weights, bias=0 * reader.bias)
    quieter = log_odds(trained.variables._replace(reader=silent))
    share = reference.head_weight
    np.testing.assert_allclose(quieter, (1 - share) * alone, atol=1e-5)
    assert not np.allclose(log_odds(trained.variables), quieter, atol=0.1)

    # The image score has a share of its own: here the regression's alone.
    assert reference.score_head_weight == 1
    np.testing.assert_allclose(both(trained.variables._replace(reader=silent))[1], 0)
    of_map, of_score = both(trained.variables)
    np.testing.assert_allclose(of_map, quieter + share * of_score, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_to_the_bit(whole, tmp_path):
    for a, b in zip(_leaves(whole), _leaves(run(tmp_path)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_run_goes_on_to_the_same_bits(whole, tmp_path):
    asked = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", should_stop=lambda: next(asked))
    steps = []
    resumed = run(tmp_path / "cut", on_step=lambda step, *_: steps.append(step))
    assert steps[0] == 32, "it went on after three scans of eight steps"
    for a, b in zip(_leaves(whole), _leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [8, 16, 24, 32, 40, 48]


def test_training_stops_where_patience_ends_and_gives_the_best(tmp_path, monkeypatch):
    """In the paper's mode: without a memory bank, from whole images."""
    aurocs = iter([0.5, 0.9, 0.8, 0.9, 0.7, 0.9])  # the last of the finished one
    seen, steps = [], []

    def validated(scorer, variables, validation):
        seen.append(jax.tree.map(np.array, variables))
        found = validate(scorer, variables, validation)
        return found._replace(figures=found.figures | {"pixel_auroc": next(aurocs)})

    validate = training.validate
    monkeypatch.setattr(training, "validate", validated)
    patient = dataclasses.replace(
        TRAIN, epochs=9, validate_every_epochs=1, patience_epochs=2, crop_px=0
    )
    trained = run(
        tmp_path,
        model_config=dataclasses.replace(PLAIN, prior=0.5),
        train_config=patient,
        on_step=lambda step, *_: steps.append(step),
    )
    # An epoch is 8 steps. The second was the best; two more are waited for, and the
    # one that is as good is not better.
    assert trained.step == 16
    assert trained.variables.memory_bank is None
    assert steps == [8, 16, 24, 32, 40]
    for a, b in zip(_leaves(trained), jax.tree.leaves(seen[1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_patience_must_see_the_next_validation():
    assert TrainConfig(patience_epochs=0, validate_every_epochs=100)
    assert TrainConfig(patience_epochs=10, validate_every_epochs=10)
    said = "must be 0 or at least validate_every_epochs, which is 10, got 9"
    with pytest.raises(ValueError, match=f"patience_epochs {said}"):
        TrainConfig(patience_epochs=9, validate_every_epochs=10)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 10.0, float("nan")])
def test_a_decay_factor_lets_the_rates_fall(factor: float):
    with pytest.raises(ValueError, match=r"decay_factor must be in \(0, 1\], got"):
        TrainConfig(decay_factor=factor)


def test_a_checkpoint_of_other_settings_or_data_is_refused_with_what_differs(
    whole, whole_folder
):
    other = dataclasses.replace(TRAIN, discriminative_learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"discriminative_learning_rate is 0\.001"):
        run(whole_folder, train_config=other, inputs=INPUTS)
    others = {"shots": {"1": "cd"}, "shards": "key"}
    said = (
        r"other settings or data: inputs\.shots\.0 is None, was ab; .* is cd, was None"
    )
    with pytest.raises(ValueError, match=said):
        run(whole_folder, inputs=others)


def test_crops_must_suit_the_network(tmp_path):
    with pytest.raises(ValueError, match="crop_px must be a multiple of 8"):
        run(tmp_path, train_config=dataclasses.replace(TRAIN, crop_px=20))
