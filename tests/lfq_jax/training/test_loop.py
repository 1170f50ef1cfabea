"""Training from end to end on tiny images: learning, resuming, refusing."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from datasets.images import to_size
from lfq_jax.inference.predictor import score_in_batches
from lfq_jax.model.lfquiad import Model
from lfq_jax.training import loop
from lfq_jax.training.loop import Hooks, Trained
from tests.lfq_jax.training.tiny_training import (
    MODEL,
    PLAIN,
    TRAIN,
    photographs,
    run,
)

# The paper's mode: no memory bank, whole images. The two tests of these settings share
# one compiled step.
PAPER = dataclasses.replace(PLAIN, prior=0.5)
PATIENT = dataclasses.replace(
    TRAIN, crop_px=0, epochs=9, validate_every_epochs=1, patience_epochs=2
)


def _leaves(trained: Trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A whole training, with the settings that the others here compile."""
    return run(tmp_path_factory.mktemp("trained"))


def test_a_detector_finds_defects_like_those_it_learnt_and_others(trained):
    assert trained.validation["pixel_auroc"] is not None
    assert trained.validation["pixel_auroc"] > 0.9
    part = np.random.default_rng(9).integers(110, 140, (40, 50, 3)).astype(np.uint8)
    broken = part.copy()
    broken[10:22, 20:34] = (230, 30, 30)
    squares = np.stack([to_size(each, MODEL.size) for each in (part, broken)])
    maps, scores = score_in_batches(trained.scorer, trained.variables, squares, None)
    good, bad = scores["smoothed_max"]
    assert bad > good
    row, column = np.unravel_index(maps[1].argmax(), maps[1].shape)
    assert 6 <= row <= 19
    assert 11 <= column <= 23


def test_the_map_and_the_score_mix_in_the_logistic_head_by_its_weights(trained):
    head = trained.variables.logistic_head
    assert head is not None
    image = photographs().images[0]
    config = trained.scorer.model.config
    assert config.memory_bank is not None
    # As little of the orientation as can be: it depends on what else is found.
    bank_config = dataclasses.replace(config.memory_bank, orientation_weight=1e-9)
    model = Model(dataclasses.replace(config, memory_bank=bank_config))

    @jax.jit
    def log_odds(head):
        """Of the map, and of the map that the image score is computed from."""
        outputs, _ = model.apply(
            trained.variables._replace(logistic_head=head),
            jnp.asarray(image[None]) / 255.0,
            training=False,
        )
        both = outputs.logits[0], outputs.score_logits[0]
        return [logits[..., 1] - logits[..., 0] for logits in both]

    without, _ = log_odds(None)
    silent = jax.tree.map(jnp.zeros_like, head)
    silent_map, silent_score = log_odds(silent)
    weight = bank_config.head_weight
    np.testing.assert_allclose(silent_map, (1 - weight) * without, atol=1e-5)
    full_map, full_score = log_odds(head)
    assert not np.allclose(full_map, silent_map, atol=0.1)

    # The image score has a weight of its own: here the logistic head has all of it.
    assert bank_config.score_head_weight == 1
    np.testing.assert_allclose(silent_score, 0)
    np.testing.assert_allclose(full_map, silent_map + weight * full_score, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_to_the_bit(trained, tmp_path):
    again = run(tmp_path)
    for a, b in zip(_leaves(trained), _leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_run_resumes_and_ends_with_the_same_bits(trained, tmp_path):
    asked = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", hooks=Hooks(should_stop=lambda: next(asked)))
    steps = []
    hooks = Hooks(on_step=lambda step, *_: steps.append(step))
    resumed = run(tmp_path / "cut", hooks=hooks)
    assert steps[0] == 32, "it resumed after three intervals of eight steps"
    for a, b in zip(_leaves(trained), _leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [8, 16, 24, 32, 40, 48]


def test_training_stops_when_patience_ends_and_returns_the_best_weights(
    tmp_path, monkeypatch
):
    aurocs = iter([0.5, 0.9, 0.8, 0.9, 0.7, 0.9])  # the last: after training
    seen, steps = [], []

    def validated(scorer, variables, validation):
        seen.append(jax.tree.map(np.array, variables))
        result = validate(scorer, variables, validation)
        return result._replace(metrics=result.metrics | {"pixel_auroc": next(aurocs)})

    validate = loop.validate
    monkeypatch.setattr(loop, "validate", validated)
    trained = run(
        tmp_path,
        model_config=PAPER,
        train_config=PATIENT,
        hooks=Hooks(on_step=lambda step, *_: steps.append(step)),
    )
    # An epoch is 8 steps. The second epoch was the best, and training waits two more.
    # The fourth epoch is as good as the second, which is no improvement.
    assert trained.step == 16
    assert steps == [8, 16, 24, 32, 40]
    for a, b in zip(_leaves(trained), jax.tree.leaves(seen[1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_of_other_settings_or_data_is_refused_with_what_differs(tmp_path):
    inputs = {"shots": {"0": "ab"}, "shards": "key"}
    run(tmp_path, inputs=inputs)
    other = dataclasses.replace(TRAIN, discriminative_learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"discriminative_learning_rate is 0\.001"):
        run(tmp_path, train_config=other, inputs=inputs)
    others = {"shots": {"1": "cd"}, "shards": "key"}
    said = (
        r"other settings or data: inputs\.shots\.0 is None, was ab; .* is cd, was None"
    )
    with pytest.raises(ValueError, match=said):
        run(tmp_path, inputs=others)


def test_crops_must_suit_the_network(tmp_path):
    with pytest.raises(ValueError, match="crop_px must be a multiple of 8"):
        run(tmp_path, train_config=dataclasses.replace(TRAIN, crop_px=20))


def test_the_papers_mode_has_no_memory_bank_and_learns_from_whole_images(tmp_path):
    trained = run(tmp_path, model_config=PAPER, train_config=PATIENT)
    assert trained.variables.memory_bank is None
