"""Give generated anomalies to anomalib: threshold and figures before a defect exists.

    python -m agm_torch generate --images normal/ --category screw --count 200
    python -m agm_torch export --shards <the folder it printed> --out exported
    python anomalib_folder.py --category exported/screw --model Padim

anomalib's own models learn from good parts alone, so the anomalies are what it is
tested and thresholded with: which model separates them, and from which score on an
image is called anomalous. Runs in an environment that has anomalib 2 and nothing of
this project. Without `--model` the data module is built, one batch is read, and every
mask is checked against its image; that needs no weights and takes seconds.
"""

import argparse
from pathlib import Path

from anomalib.data import Folder


def data_module(category: Path, *, batch: int, seed: int) -> Folder:
    """The exported folder as anomalib's `Folder`, masks paired by stem.

    A fifth of the good images is kept for the test, because an export has none there.
    """
    return Folder(
        name=category.name,
        root=category,
        normal_dir="train/good",
        abnormal_dir="test/synthetic",
        mask_dir="ground_truth/synthetic",
        normal_split_ratio=0.2,
        train_batch_size=batch,
        eval_batch_size=batch,
        num_workers=0,
        val_split_mode="from_test",
        seed=seed,
    )


def check_pairs(module: Folder) -> int:
    """Every anomalous image has the mask of its own stem; returns how many there are.

    Raises:
      ValueError: a mask belongs to another image.
    """
    anomalous = 0
    for samples in (module.val_data.samples, module.test_data.samples):
        for row in samples[samples.label_index == 1].itertuples():
            if Path(row.mask_path).stem != f"{Path(row.image_path).stem}_mask":
                raise ValueError(f"{row.image_path} is paired with {row.mask_path}")
            anomalous += 1
    return anomalous


def main() -> None:
    parser = argparse.ArgumentParser(description="Generated anomalies in anomalib.")
    parser.add_argument("--category", type=Path, required=True)
    parser.add_argument("--model", help="a model of anomalib, e.g. Padim, Draem")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (options.category / "train" / "good").is_dir():
        parser.error(f"--category {options.category} is no exported folder")
    module = data_module(options.category, batch=options.batch, seed=options.seed)
    module.setup()
    batch = next(iter(module.test_dataloader()))
    print(f"{check_pairs(module)} anomalous images, each with its mask")
    print(
        f"a batch: image {tuple(batch.image.shape)}, mask {tuple(batch.gt_mask.shape)}"
    )
    if options.model is None:
        return
    from anomalib import models
    from anomalib.engine import Engine

    engine = Engine(max_epochs=options.epochs, accelerator="auto", devices=1)
    model = getattr(models, options.model)()
    engine.fit(model=model, datamodule=module)
    print(engine.test(model=model, datamodule=module))


if __name__ == "__main__":
    main()
