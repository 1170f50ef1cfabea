"""Feed generated anomalies to a DRAEM-style training loop in torch.

    python -m agm_torch generate --images normal/ --category screw --count 500
    python docs/examples/draem_training_step.py --shards <the folder it printed>

The two networks are DRAEM's in small: one repairs the image, one is shown the image
and the repair and says where they should differ. In DRAEM's own repository the change
is one line of `train_DRAEM.py`:

    dataset = AnomalyDataset(shards)  # instead of MVTecDRAEMTrainDataset(...)
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from agm_torch.torch_dataset import AnomalyDataset
from datasets.errors import one_line_errors

WIDTH = 16


def block(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def hourglass(inputs: int, outputs: int, width: int = WIDTH) -> nn.Sequential:
    """An image down to an eighth of its size and up again."""
    down = [
        block(inputs, width),
        block(width, 2 * width, stride=2),
        block(2 * width, 4 * width, stride=2),
        block(4 * width, 4 * width, stride=2),
    ]
    up = []
    for wide, narrow in ((4, 4), (4, 2), (2, 1)):
        up += [
            nn.Upsample(scale_factor=2, mode="bilinear"),
            block(wide * width, narrow * width),
        ]
    return nn.Sequential(*down, *up, nn.Conv2d(width, outputs, 3, padding=1))


def structural_difference(first: Tensor, second: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) with an 11 x 11 box window, images in [0, 1]."""

    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, 11, stride=1)

    mu1, mu2 = mean(first), mean(second)
    variance1 = mean(first * first) - mu1 * mu1
    variance2 = mean(second * second) - mu2 * mu2
    covariance = mean(first * second) - mu1 * mu2
    similar = (2 * mu1 * mu2 + 1e-4) * (2 * covariance + 9e-4)
    similar = similar / (
        (mu1 * mu1 + mu2 * mu2 + 1e-4) * (variance1 + variance2 + 9e-4)
    )
    return 1 - similar.mean()


def focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Focal loss (Lin et al. 2017), gamma 2, for two classes."""
    target = mask[:, 0].long()
    log_right = -functional.cross_entropy(logits, target, reduction="none")
    return (-((1 - log_right.exp()) ** 2) * log_right).mean()


def train(shards: Path, *, steps: int, batch: int, seed: int) -> list[float]:
    """Train for some steps; returns the loss of each."""
    torch.manual_seed(seed)
    repair, discriminate = hourglass(3, 3), hourglass(6, 2)
    parameters = [*repair.parameters(), *discriminate.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    dataset = AnomalyDataset(shards)
    batch = min(batch, len(dataset))
    samples = DataLoader(dataset, batch, shuffle=True, drop_last=True)
    losses: list[float] = []
    while len(losses) < steps:
        for sample in samples:
            repaired = repair(sample["augmented_image"])
            logits = discriminate(torch.cat([repaired, sample["augmented_image"]], 1))
            loss = (
                functional.mse_loss(repaired, sample["image"])
                + structural_difference(repaired, sample["image"])
                + focal(logits, sample["anomaly_mask"])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            print(f"step {len(losses):4d}  loss {losses[-1]:.4f}")
            if len(losses) == steps:
                break
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description="DRAEM-style training on shards.")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with one_line_errors():
        train(
            options.shards, steps=options.steps, batch=options.batch, seed=options.seed
        )


if __name__ == "__main__":
    main()
