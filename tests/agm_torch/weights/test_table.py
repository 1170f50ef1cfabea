"""The table of weights is well formed."""

from agm_torch.weights import table


def test_every_hash_and_address_of_the_table_is_well_formed() -> None:
    files = [entry.file for entry in table.CHECKPOINTS.values()]
    for model in table.HUB_MODELS.values():
        files += model.files
        assert model.revision is not None and len(model.revision) == 40
        int(model.revision, 16)
        assert not any(file.name.endswith((".bin", ".ckpt")) for file in model.files)
    for file in files:
        if file.sha256 is not None:
            assert len(file.sha256) == 64
            int(file.sha256, 16)
    for entry in table.CHECKPOINTS.values():
        assert entry.file.sha256, "a pickled file must be pinned"
        assert entry.address.endswith(entry.file.name)
