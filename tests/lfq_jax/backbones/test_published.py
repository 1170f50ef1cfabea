"""The table of published weights agrees with the architectures."""

import re

import numpy as np
import pytest

from lfq_jax.backbones import load_backbone, network_as_text, network_from_text
from lfq_jax.backbones.backbone import DEVIATION, MEAN
from lfq_jax.backbones.published import (
    PUBLISHED,
    HubRepository,
    PackageFile,
    PlainFile,
)
from lfq_jax.backbones.search import Places, found_weights
from lfq_jax.config import PRESETS

NAMES = (
    *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
    *("squeezenet1_1", "resnet18", "resnet50", "wide_resnet50_2"),
    *("dinov2_vits14", "dinov2_vitb14", "dinov2_vitl14"),
    *("dinov2_vits14_reg", "dinov2_vitb14_reg", "dinov2_vitl14_reg"),
    *("dinov3_vits16", "dinov3_vitb16"),
)


def test_the_table_has_every_name_and_the_presets_names():
    assert tuple(PUBLISHED) == NAMES
    assert {preset.backbone for preset in PRESETS.values()} <= {"none", *NAMES}
    assert PRESETS["best"].backbone == "efficientnet_lite0"


@pytest.mark.parametrize("name", NAMES)
def test_the_architecture_of_an_entry_has_the_entrys_name(name: str):
    entry = PUBLISHED[name]
    network = network_from_text(entry.architecture)
    assert network.name == name == entry.name
    assert network_as_text(network) == entry.architecture
    assert set(network.default_stages) <= {stage.name for stage in network.stages}


@pytest.mark.parametrize("name", NAMES)
def test_every_source_has_an_address_a_size_and_a_hash_that_fits_its_name(name: str):
    for source in PUBLISHED[name].sources:
        start = "pip install " if isinstance(source, PackageFile) else "https://"
        assert source.address.startswith(start)
        assert source.size_bytes > 4_000_000
        if source.sha256 is not None:
            assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        if isinstance(source, PackageFile | PlainFile):
            assert source.sha256 and f"-{source.sha256[:8]}.pth" in source.name
        if isinstance(source, HubRepository) and source.revision:
            assert re.fullmatch("[0-9a-f]{40}", source.revision)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_installed_weights_are_the_tables(name: str):
    entry = PUBLISHED[name]
    found = found_weights(entry, Places(offline=True))
    if found is None:
        pytest.skip(f"the weights of {name} are not installed")
    assert found.path.stat().st_size == entry.sources[0].size_bytes
    backbone = load_backbone(name, Places(offline=True))
    np.testing.assert_allclose(backbone.arrays[MEAN], entry.mean, atol=5e-4)
    np.testing.assert_allclose(backbone.arrays[DEVIATION], entry.deviation, atol=5e-4)
