"""Preparing a training: every step once, and the same every time."""

import dataclasses
from collections import Counter

import jax
import numpy as np

from lfq_jax.config import AugmentConfig
from lfq_jax.model.lfquiad import Model
from lfq_jax.training import leave_one_out, prepare
from lfq_jax.training.data import split
from lfq_jax.training.prepare import Prepared
from lfq_jax.training.random_streams import random_streams
from tests.lfq_jax.training.tiny_training import MODEL, TRAIN, photographs


def _prepared() -> Prepared:
    data, held_out = split(photographs(8), held_out=2)
    augment = AugmentConfig(noise=0.02, contrast=0.1)
    return prepare.prepare(
        data,
        held_out,
        model=Model(MODEL, is_texture=True),
        config=dataclasses.replace(TRAIN, augment=augment),
        streams=random_streams(3),
    )


def test_every_fit_is_called_once_and_the_result_is_the_same_every_time(monkeypatch):
    calls = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counted(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    for name in ("fit_feature_extractor", "leave_one_out", "fit_logistic_head"):
        count(prepare, name)
    fits = ("fit_border_baseline", "fit_orientation_statistics", "build_memory_bank")
    for name in fits:
        count(leave_one_out, name)
    one = _prepared()
    shots = len(photographs().normals)
    assert calls == {
        "fit_feature_extractor": 1,
        "leave_one_out": 1,
        "fit_logistic_head": 1,
        "fit_border_baseline": 1,
        "fit_orientation_statistics": 1,
        "build_memory_bank": shots + 1,  # one without each shot, and one of all
    }
    two = _prepared()
    first, second = (
        (each._replace(others=None), each.others and each.others.banks)
        for each in (one, two)
    )
    assert first[1] and len(first[1]) == shots
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)
