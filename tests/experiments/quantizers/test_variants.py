"""Quantizers as words of a command line."""

from experiments.quantizers.variants import read_variant
from lfq_jax.quantizers.config import FSQConfig, LFQConfig, NoneConfig


def test_a_variant_is_a_name_with_optional_fields():
    assert read_variant("lfq") == LFQConfig()
    assert read_variant("none") == NoneConfig()
    named = read_variant("lfq:bits=3,normalisation=layer,temperature=2")
    assert named == LFQConfig(bits=3, normalisation="layer", temperature=2.0)
    assert read_variant("fsq:levels=(8,5)") == FSQConfig(levels=(8, 5))
