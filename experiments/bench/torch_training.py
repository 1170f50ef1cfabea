"""The training step in PyTorch, to compare its speed with ours.

Networks, losses, quantizer and optimizer are ours. The code uses PyTorch's own means:
NCHW tensors, `conv2d`, `batch_norm`, `interpolate`, `max_pool2d`, autograd, fused
AdamW. Two shortcuts of our step are used here as well, so that the comparison does not
depend on them: SSIM's window as two banded matrices, and the entropy of all codes from
two halves.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import torch
import torch.nn.functional as F

from experiments.bench.torch_layers import (
    apply_stage,
    as_tensor,
    conv,
    depth_to_space,
    space_to_depth,
    tree_as_tensors,
    upsampled,
)
from experiments.bench.training_setup import Setup
from lfq_jax.config import LossConfig, ModelConfig, TrainConfig
from lfq_jax.model.variables import Variables
from lfq_jax.ops.gaussian import window_matrix
from lfq_jax.quantizers.config import LFQConfig
from lfq_jax.training import losses
from lfq_jax.training.data import TrainingData
from lfq_jax.training.sampling import CENTRED_SHARE

Layout = Literal["nchw", "channels_last"]
_training_stage = functools.partial(apply_stage, training=True)


class TorchStep:
    """Performs one step of the optimisation, from a batch to new weights."""

    def __init__(
        self,
        variables: Variables,
        model: ModelConfig,
        train: TrainConfig,
        *,
        layout: Layout,
        is_compiled: bool = False,
        device: str = "cpu",
    ) -> None:
        if not isinstance(model.quantizer, LFQConfig) or (
            model.quantizer.normalisation != "none"
        ):
            raise ValueError("only LFQ without normalisation is implemented in PyTorch")
        self.model, self.train, self.device = model, train, device
        self.quantizer = model.quantizer
        is_last = layout == "channels_last"
        self.format = torch.channels_last if is_last else torch.contiguous_format
        self.params = self._to_device(tree_as_tensors(variables.params))
        self.statistics = self._to_device(tree_as_tensors(variables.statistics))
        leaves = {
            name: list(_leaves(self.params[name]))
            for name in ("reconstructive", "discriminative")
        }
        rates = {
            "reconstructive": train.reconstructive_learning_rate,
            "discriminative": train.discriminative_learning_rate,
        }
        groups = []
        for name, found in leaves.items():
            for decay, is_kernel in ((train.weight_decay, True), (0.0, False)):
                chosen = [x for x in found if (x.ndim == 4) == is_kernel]
                group = {"params": chosen, "lr": rates[name], "weight_decay": decay}
                groups.append(group)
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self._matrices: dict[int, torch.Tensor] = {}
        self.terms = torch.compile(self._terms) if is_compiled else self._terms

    def __call__(self, batch: "Batch") -> dict[str, torch.Tensor]:
        """Perform the step, and return the weighted terms of the loss before it."""
        is_bfloat16 = self.model.compute_dtype == "bfloat16"
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=is_bfloat16):
            terms = self.terms(*batch)
        self.optimizer.zero_grad(set_to_none=True)
        sum(terms.values(), torch.zeros((), device=self.device)).backward()
        self.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def _to_device(self, tree: Any) -> Any:
        """The tree on the device, kernels in this step's memory format."""
        if isinstance(tree, dict):
            return {name: self._to_device(child) for name, child in tree.items()}
        array = tree.to(self.device)
        if array.ndim == 4:
            array = array.contiguous(memory_format=self.format)
        return array

    def _terms(
        self,
        image: torch.Tensor,
        normal: torch.Tensor,
        mask: torch.Tensor,
        distances: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        image = image.contiguous(memory_format=self.format)
        reconstruction, quantizer_loss = self._reconstructed(image)
        logits = self._discriminated(image, reconstruction, distances).float()
        config = self.train.loss
        margin = logits[:, 1] - logits[:, 0]
        probability = torch.sigmoid(margin)
        overlap = (probability * mask).sum()
        dice = 1 - (2 * overlap + 1) / (probability.sum() + mask.sum() + 1)
        log_p = F.logsigmoid(torch.where(mask > 0.5, margin, -margin))
        focal = (-((-torch.expm1(log_p)) ** config.focal_gamma) * log_p).mean()
        error = F.mse_loss(reconstruction, normal)
        similarity = 1 - self._ssim(reconstruction, normal, config)
        return {
            "mse": config.mse_weight * error,
            "ssim": config.ssim_weight * similarity,
            "dice": config.dice_weight * dice,
            "focal": config.focal_weight * focal,
            "quantizer": quantizer_loss,
        }

    def _reconstructed(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        params = self.params["reconstructive"]
        statistics = self.statistics["reconstructive"]
        x = self._to_cells(image)
        encoder = params["encoder"]["stages"]
        for i in sorted(encoder):
            x = F.max_pool2d(x, 2) if i else x
            x = _training_stage(x, encoder[i], statistics["encoder"]["stages"][i])
        z = conv(x, params["pre"]).float()
        codes = torch.where(z >= 0, 1.0, -1.0)
        loss = _lfq_loss(
            z.permute(0, 2, 3, 1), codes.permute(0, 2, 3, 1), self.quantizer
        )
        x = conv(codes + (z - z.detach()), params["post"])
        decoder = params["decoder"]["stages"]
        for i in sorted(decoder):
            x = _training_stage(
                upsampled(x), decoder[i], statistics["decoder"]["stages"][i]
            )
        x = conv(x, params["decoder"]["head"])
        return depth_to_space(x, self.model.stem).float(), loss

    def _discriminated(
        self, image: torch.Tensor, reconstruction: torch.Tensor, distances: torch.Tensor
    ) -> torch.Tensor:
        params = self.params["discriminative"]
        statistics = self.statistics["discriminative"]
        cells = distances
        if self.model.discriminator_input == "residual":
            cells = torch.cat([cells, self._residual(image, reconstruction)], 1)
            x = cells
        else:
            pixels = torch.cat([reconstruction, image], 1)
            x = torch.cat([self._to_cells(pixels), cells], 1)
        x, skips = x.contiguous(memory_format=self.format), []
        for i in sorted(params["down"]):
            x = F.max_pool2d(x, 2) if i else x
            x = _training_stage(x, params["down"][i], statistics["down"][i])
            skips.append(x)
        skips.pop()
        for i in sorted(params["up"]):
            x = _training_stage(upsampled(x), params["up"][i], statistics["up"][i])
            x = torch.cat([x, skips.pop()], 1)
            x = _training_stage(x, params["join"][i], statistics["join"][i])
        x = conv(torch.cat([x, cells], 1), params["head"])
        return depth_to_space(x, self.model.stem)

    def _residual(
        self, image: torch.Tensor, reconstruction: torch.Tensor
    ) -> torch.Tensor:
        difference = image - reconstruction
        colour = F.avg_pool2d(difference, self.model.stem).abs()
        detail = F.avg_pool2d(difference.abs(), self.model.stem).mean(1, keepdim=True)
        return 10 * torch.cat([colour, detail], 1)

    def _to_cells(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels as channels of the stem's cells, in this step's memory format."""
        x = space_to_depth(x, self.model.stem) if self.model.stem > 1 else x
        return x.contiguous(memory_format=self.format)

    def _ssim(
        self, x: torch.Tensor, y: torch.Tensor, config: LossConfig
    ) -> torch.Tensor:
        side = x.shape[-1]
        if side not in self._matrices:
            window = config.ssim_window_px, config.ssim_sigma_px
            matrix = window_matrix(side, *window)
            self._matrices[side] = as_tensor(matrix).to(self.device)
        matrix = self._matrices[side]
        stacked = torch.cat([x, y, x * x, y * y, x * y], 1).contiguous()
        mean_x, mean_y, xx, yy, xy = (matrix @ stacked @ matrix.T).chunk(5, 1)
        c1, c2 = losses.SSIM_C1, losses.SSIM_C2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        variance = xx - mean_x**2 + yy - mean_y**2
        structure = (2 * (xy - mean_x * mean_y) + c2) / (variance + c2)
        return (luminance * structure).mean()


def torch_stepper(
    setup: Setup, *, layout: Layout, is_compiled: bool
) -> Callable[[], None]:
    """A function that performs one complete step, from drawing to new weights.

    The function returns when the step is finished.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = setup.trainer
    step = TorchStep(
        trainer.model.init(jax.random.key(0)),
        trainer.model.config,
        trainer.config,
        layout=layout,
        is_compiled=is_compiled,
        device=device,
    )
    data = TorchData(setup.data, trainer.config, device)

    def run() -> None:
        step(data.draw(turns=trainer.model.is_texture))
        if device == "cuda":
            torch.cuda.synchronize()

    return run


class Batch(NamedTuple):
    """A batch of samples. Images are NCHW, in [0, 1]."""

    image: torch.Tensor
    normal: torch.Tensor
    mask: torch.Tensor
    distances: torch.Tensor


class TorchData:
    """The training data on the device, as bytes. Draws, crops, mirrors and rotates."""

    def __init__(self, data: TrainingData, train: TrainConfig, device: str) -> None:
        # anomalous, then good samples: images, normals, masks, distances
        self.parts: list[list[torch.Tensor]] = [
            [
                as_tensor(array).to(device)
                for array in (*part[:3], part.distance_maps.distances)
            ]
            for part in data
        ]
        self.train = train
        self.generator = torch.Generator().manual_seed(0)

    def draw(self, *, turns: bool) -> Batch:
        """A batch of `batch_size` samples, each cropped to a square of `crop_px`."""
        drawn = [self._draw_one(turns=turns) for _ in range(self.train.batch_size)]
        image, normal, mask, distances = (
            torch.stack(x) for x in zip(*drawn, strict=True)
        )
        return Batch(
            (image.float() / 255).permute(0, 3, 1, 2),
            (normal.float() / 255).permute(0, 3, 1, 2),
            mask.float(),
            distances.float().permute(0, 3, 1, 2),
        )

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self.generator))

    def _draw_one(self, *, turns: bool) -> list[torch.Tensor]:
        """Image, normal image, mask and distance maps of one sample."""
        part = self.parts[int(self._uniform() >= self.train.anomalous_share)]
        i = int(self._uniform() * len(part[0]))
        planes = [array[i] for array in part]
        if self.train.crop_px:
            planes = self._cropped(planes)
        if not turns:
            return planes
        for axis in (0, 1):
            if self._uniform() < 0.5:
                planes = [plane.flip(axis) for plane in planes]
        return (
            [plane.transpose(0, 1) for plane in planes]
            if self._uniform() < 0.5
            else planes
        )

    def _cropped(self, planes: list[torch.Tensor]) -> list[torch.Tensor]:
        """A square of `crop_px` from all planes, often placed on an anomalous cell."""
        grid, side = planes[3].shape[0], planes[0].shape[0]
        cell = side // grid
        cells = self.train.crop_px // cell
        point = torch.tensor([self._uniform(), self._uniform()]) * grid
        if self._uniform() < CENTRED_SHARE:
            inside = planes[2].reshape(grid, cell, grid, cell).amax((1, 3)).nonzero()
            if len(inside):
                point = inside[int(self._uniform() * len(inside))]
        offset = torch.tensor([self._uniform(), self._uniform()]) * cells
        row, column = (point - offset).int().clamp(0, grid - cells).tolist()

        def cut(x: torch.Tensor, scale: int) -> torch.Tensor:
            rows = slice(row * scale, (row + cells) * scale)
            return x[rows, column * scale : (column + cells) * scale]

        return [*(cut(x, cell) for x in planes[:3]), cut(planes[3], 1)]


def _leaves(tree: Any) -> Any:
    """The tensors of the tree, set to require gradients."""
    if isinstance(tree, dict):
        for child in tree.values():
            yield from _leaves(child)
    else:
        yield tree.requires_grad_()


def _lfq_loss(z: torch.Tensor, codes: torch.Tensor, config: LFQConfig) -> torch.Tensor:
    """LFQ's loss: commitment |z - z_q|^2 + weight (H_sample - gamma H_batch)."""
    flat = z.reshape(-1, config.bits)
    commitment = ((z - codes) ** 2).mean()
    log_odds = (4 * flat / config.temperature).clamp(-128, 128)
    on, off = F.logsigmoid(log_odds), F.logsigmoid(-log_odds)
    sample_entropy = -(on.exp() * on + off.exp() * off).sum(-1).mean()
    half = (config.bits + 1) // 2
    upper, lower = (
        _word_probabilities(on[:, part], off[:, part])
        for part in (slice(0, half), slice(half, None))
    )
    p = (upper.T @ lower / len(flat)).clamp_min(torch.finfo(torch.float32).tiny)
    batch_entropy = -(p * p.log()).sum()
    entropy = sample_entropy - config.gamma * batch_entropy
    return config.commitment_weight * commitment + config.entropy_weight * entropy


def _word_probabilities(on: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    """Probability of every word of these bits, b 2^bits. The first bit is highest."""
    bits = on.shape[1]
    index = torch.arange(1 << bits, device=on.device)
    shifts = torch.arange(bits - 1, -1, -1, device=on.device)
    is_set = ((index >> shifts[:, None]) & 1).float()
    return (on @ is_set + off @ (1 - is_set)).exp()
