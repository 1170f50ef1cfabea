"""A detector of preset `cpu` in PyTorch, to compare its speed with the exports.

Weights and arithmetic are those of the jax detector. The code uses PyTorch's own means:
NCHW tensors in channels_last, `conv2d`, `batch_norm`, `interpolate`, `max_pool2d`,
`topk`.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from experiments.bench.torch_layers import (
    LAST,
    apply_stage,
    as_tensor,
    conv,
    depth_to_space,
    space_to_depth,
    tree_as_tensors,
    upsampled,
)
from lfq_jax.config import ModelConfig
from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.memory_bank import filter_bank as filters
from lfq_jax.memory_bank import logistic_head, orientation
from lfq_jax.memory_bank import nearest_neighbours as nearest
from lfq_jax.memory_bank.border_baseline import cells_from_border
from lfq_jax.model.scoring import WINDOW_SIGMAS
from lfq_jax.ops.gaussian import blur_matrix, window_matrix


class TorchDetector:
    """Computes maps and smoothed maxima from bytes [b h w 3]."""

    def __init__(self, record: DetectorRecord) -> None:
        model = record.model
        if not isinstance(model, ModelConfig):
            raise ValueError(f"method {record.method} is not implemented in PyTorch")
        if model.discriminator_input != "residual" or model.memory_bank is None:
            raise ValueError(
                "only preset cpu is implemented in PyTorch: its discriminator gets a "
                "residual and the distances to a memory bank"
            )
        self.record, self.stem = record, model.stem
        self.levels, self.window = model.memory_bank.levels, model.memory_bank.window
        params = record.variables.params
        self.networks = (
            tree_as_tensors(params),
            tree_as_tensors(record.variables.statistics),
        )
        bank = record.variables.memory_bank
        assert bank is not None and record.variables.logistic_head is not None
        if bank.filters is None or bank.extractor.filters is None:
            raise ValueError("a backbone without a filter bank is not implemented here")
        self.mean, self.matrix = map(as_tensor, bank.extractor.filters)
        self.patches = as_tensor(bank.filters.anywhere)
        self.patch_lengths = _squared_lengths(self.patches)
        self.baseline = None
        if bank.border_baseline is not None:
            depth = cells_from_border(*model.grid)
            baseline = np.asarray(bank.border_baseline)
            self.baseline = as_tensor(baseline[depth.clip(max=len(baseline) - 1)])
        self.grain = bank.orientation and tuple(map(as_tensor, bank.orientation))
        self.grain_lengths = (
            None if self.grain is None else _squared_lengths(self.grain[0])
        )
        self.orientation_weight = model.memory_bank.orientation_weight
        self.head = tuple(map(as_tensor, record.variables.logistic_head))
        self.head_weight = model.memory_bank.head_weight
        self.score_head_weight = model.memory_bank.score_head_weight
        self.kernels = {
            name: as_tensor(kernel).permute(3, 2, 0, 1).contiguous()
            for name, kernel in (
                ("structure", filters.derivatives()),
                ("lines", filters._elongated()),
            )
        }
        if bank.stages:
            raise ValueError("a pretrained backbone is not implemented in PyTorch")
        self.poses = bank.poses and tuple(map(as_tensor, bank.poses))
        self.rows = self._rows(as_tensor(bank.filters.in_place))
        self._matrices: dict[Any, torch.Tensor] = {}

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        unit = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        unit = unit.contiguous(memory_format=LAST)
        network, head = self._log_odds(unit)
        map_log_odds, score_log_odds = (
            (1 - weight) * network + weight * head
            for weight in (self.head_weight, self.score_head_weight)
        )
        if self.grain is not None:
            unexplained = self._unexplained_share(torch.sigmoid(map_log_odds))
            deviation = self._orientation_deviation(unit)
            map_log_odds = (
                map_log_odds + self.orientation_weight * unexplained * deviation
            )
        map_probability = torch.sigmoid(map_log_odds)
        score_probability = torch.sigmoid(score_log_odds)
        config = self.record.score
        maps = self._smooth(map_probability, config.smoothing_sigma)
        score = self._smooth(score_probability, config.max_sigma).amax((1, 2))
        return maps.numpy(), score.numpy()

    def _log_odds(self, unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds of an anomaly, b h w, by discriminator and by logistic head."""
        reconstruction = self._reconstructed(unit)
        distances = self._distances(unit)
        residual = self._residual(unit, reconstruction)
        logits = self._discriminated(torch.cat([distances, residual], 1))
        weights, surround_weights, bias = self.head
        blurred = [
            distances if not sigma else self._across(distances, ("blur", sigma, False))
            for sigma in logistic_head.BLURS
        ]
        features = torch.cat(blurred, 1)
        head = torch.einsum("bfhw,f->bhw", features, weights)
        subtracted = torch.einsum("bfhw,f->bhw", features, surround_weights)
        surround = self._across(subtracted, ("blur", logistic_head.WIDE, True))
        head = head - surround + bias
        return logits[:, 1] - logits[:, 0], self._to_pixels(head)

    def _to_pixels(self, cells: torch.Tensor) -> torch.Tensor:
        """Cells, b h w, repeated to pixels."""
        rows = cells.repeat_interleave(self.stem, 1)
        return rows.repeat_interleave(self.stem, 2)

    def _unexplained_share(self, probability: torch.Tensor) -> torch.Tensor:
        """1 - the largest probability near every pixel, b h w.

        Weight of the orientation deviation.
        """
        reach = orientation.CELL_PX // self.stem
        most = F.max_pool2d(probability[:, None], self.stem)
        most = F.max_pool2d(most, 2 * reach + 1, stride=1, padding=reach)
        return 1 - self._to_pixels(most[:, 0])

    def _orientation_deviation(self, unit: torch.Tensor) -> torch.Tensor:
        """How far the grain's orientation deviates from the shots', b h w."""
        assert self.grain is not None and self.grain_lengths is not None
        patches, mean, deviation = self.grain
        side = unit.shape[-1]
        cells = max(1, side // orientation.CELL_PX)
        lightness, descriptors = unit.mean(1, keepdim=True), []
        for octave in range(orientation._OCTAVES):
            lightness = F.avg_pool2d(lightness, 2) if octave else lightness
            energy = self._filtered(lightness, "structure") ** 2
            how = ("sample", cells, orientation.sigma_of_cell)
            energy = self._across(energy, how) + orientation._FLOOR
            for kind in (energy[:, 0::2], energy[:, 1::2]):
                descriptors.append((kind / kind.mean(1, keepdim=True)).log())
        query = torch.cat(descriptors, 1).permute(0, 2, 3, 1)
        squared = _from_anywhere(query, patches, self.grain_lengths)
        distance = squared.sum(-1).sqrt().log1p()[:, None]
        for sign in (-1, 1):  # minima, then maxima
            padded = F.pad(sign * distance, [1] * 4, "replicate")
            distance = sign * F.max_pool2d(padded, 3, 1)
        standard = (distance - mean) / deviation
        grid = side // self.stem
        cells_of_grid = F.interpolate(standard, (grid, grid), mode="bilinear")
        return self._to_pixels(cells_of_grid[:, 0].tanh())

    def _reconstructed(self, unit: torch.Tensor) -> torch.Tensor:
        """The reconstruction, b 3 h w."""
        params, statistics = (tree["reconstructive"] for tree in self.networks)
        x = space_to_depth(unit, self.stem)
        for i in sorted(params["encoder"]["stages"]):
            x = F.max_pool2d(x, 2) if i else x
            stage = params["encoder"]["stages"][i]
            x = apply_stage(x, stage, statistics["encoder"]["stages"][i])
        z = conv(x, params["pre"])
        if self.record.model.quantizer.normalisation == "layer":  # pyright: ignore
            z = z - z.mean(1, keepdim=True)  # its scale does not change a sign
        x = conv(torch.where(z >= 0, 1.0, -1.0), params["post"])
        for i in sorted(params["decoder"]["stages"]):
            stage = params["decoder"]["stages"][i]
            x = apply_stage(upsampled(x), stage, statistics["decoder"]["stages"][i])
        return depth_to_space(conv(x, params["decoder"]["head"]), self.stem)

    def _discriminated(self, cells: torch.Tensor) -> torch.Tensor:
        """The discriminator's logits, b 2 h w."""
        params, statistics = (tree["discriminative"] for tree in self.networks)
        x, skips = cells, []
        for i in sorted(params["down"]):
            x = F.max_pool2d(x, 2) if i else x
            x = apply_stage(x, params["down"][i], statistics["down"][i])
            skips.append(x)
        skips.pop()
        for i in sorted(params["up"]):
            x = apply_stage(upsampled(x), params["up"][i], statistics["up"][i])
            x = torch.cat([x, skips.pop()], 1)
            x = apply_stage(x, params["join"][i], statistics["join"][i])
        x = conv(torch.cat([x, cells], 1), params["head"])
        return depth_to_space(x, self.stem)

    def _residual(
        self, unit: torch.Tensor, reconstruction: torch.Tensor
    ) -> torch.Tensor:
        difference = unit - reconstruction
        colour = F.avg_pool2d(difference, self.stem).abs()
        detail = F.avg_pool2d(difference.abs(), self.stem).mean(1, keepdim=True)
        return 10 * torch.cat([colour, detail], 1)

    def _distances(self, unit: torch.Tensor) -> torch.Tensor:
        """Distance maps to the memory bank, b f h w, minus the border baseline."""
        features = self._features(unit).permute(0, 2, 3, 1)
        whitened = (features - self.mean) @ self.matrix
        squared = [_from_anywhere(whitened, self.patches, self.patch_lengths)]
        if self.rows is not None:
            squared.append(self._in_place(whitened))
        if self.poses is not None:
            self._require_upright(whitened)
        sizes = filters.group_sizes(self.levels)
        lengths = [
            torch.stack([group.sum(-1).sqrt() for group in s.split(sizes, -1)], -1)
            for s in squared
        ]
        distances = torch.log1p(torch.cat(lengths, -1))
        if self.baseline is not None:
            distances = distances - self.baseline
        return distances.permute(0, 3, 1, 2)

    def _require_upright(self, query: torch.Tensor) -> None:
        """Search for other rotations, and refuse images where one fits.

        What would follow is not implemented in PyTorch.
        """
        assert self.poses is not None
        axes, rotated = self.poses
        coarse = F.avg_pool2d((query @ axes).permute(0, 3, 1, 2), 2)
        reach, flat = 2, rotated[:, :, 2:-2, 2:-2].flatten(2)
        moved = F.unfold(
            coarse, (coarse.shape[2] - 2 * reach, coarse.shape[3] - 2 * reach)
        )
        moved = moved.unflatten(1, (coarse.shape[1], -1)).permute(0, 3, 2, 1).flatten(2)
        lengths = (flat**2).sum(-1)[:, :, None]
        squared = [lengths + (m**2).sum(-1) - 2 * flat @ m.T for m in moved]
        best = torch.stack(squared).amin(-1)
        upright = [0, 1, -1]
        others = best[:, :, 2:-1].amin(-1)
        if bool((others <= 1.5 * best[:, :, upright].amin(-1)).any()):
            raise ValueError(
                "an image shows a rotated part: use images of upright parts"
            )

    def _rows(self, places: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        """The patches near every row, their squared lengths, and a mask of the patches
        that are too far from a column."""
        k, h, w, f = places.shape
        if not k:
            return None
        reach = self.window
        # A row beyond the border is farther than any patch.
        padded = F.pad(places, (0, 0, 0, 0, reach, reach), value=1e6)
        shifted = [padded[:, i : i + h] for i in range(2 * reach + 1)]
        rows = torch.stack(shifted, 2).permute(1, 0, 2, 3, 4).reshape(h, -1, f)
        column = torch.arange(w).repeat(k * (2 * reach + 1))
        is_far = (torch.arange(w)[:, None] - column).abs() > reach
        return rows.contiguous(), (rows**2).sum(-1), is_far

    def _in_place(self, query: torch.Tensor) -> torch.Tensor:
        """Squared differences to the nearest patch in the window around each cell."""
        assert self.rows is not None
        rows, lengths, is_far = self.rows
        found = []
        for image in query:
            squared = torch.baddbmm(
                lengths[:, None], image, rows.transpose(1, 2), alpha=-2
            )
            squared.masked_fill_(is_far, torch.inf)
            found_at = squared.topk(nearest._CANDIDATES, largest=False).indices
            index = found_at.flatten(1)[..., None].expand(-1, -1, rows.shape[-1])
            candidates = rows.gather(1, index).unflatten(1, found_at.shape[1:])
            found.append(_from_nearest(image, candidates))
        return torch.stack(found)

    def _features(self, unit: torch.Tensor) -> torch.Tensor:
        """Responses of the filter bank in every cell, b f h w."""
        red, green, blue = unit.unbind(1)
        octave = torch.stack(
            [unit.mean(1), red - green, (red + green) / 2 - blue], dim=1
        )
        grid = unit.shape[-1] // self.stem
        features = []
        for level in range(self.levels):
            octave = F.avg_pool2d(octave, 2) if level else octave
            features.append(self._across(octave, ("sample", grid)))
            lightness = octave[:, :1]
            energies = [self._across(self._structure(lightness), ("sample", grid))]
            if level < filters._LINE_OCTAVES:
                lines = _split_signs(self._filtered(lightness, "lines"))
                energies.append(_largest_near_cells(lines, grid))
            features += [(e + filters._ENERGY_FLOOR).sqrt() for e in energies]
        return torch.cat(features, 1)

    def _filtered(self, lightness: torch.Tensor, name: str) -> torch.Tensor:
        kernel = self.kernels[name]
        radius = kernel.shape[-1] // 2
        return F.conv2d(F.pad(lightness, [radius] * 4, mode="reflect"), kernel)

    def _structure(self, lightness: torch.Tensor) -> torch.Tensor:
        response = self._filtered(lightness, "structure")
        return torch.cat([response[:, 0::2].abs(), _split_signs(response[:, 1::2])], 1)

    def _smooth(self, maps: torch.Tensor, share: float) -> torch.Tensor:
        """The maps, smoothed by a Gaussian; as `lfq_jax.model.scoring.smooth`."""
        if share <= 0:
            return maps
        sigma_px = share * math.sqrt(maps.shape[-2] * maps.shape[-1])
        window = 2 * max(1, round(WINDOW_SIGMAS * sigma_px)) + 1
        return self._across(maps[:, None], ("window", window, sigma_px))[:, 0]

    def _across(self, x: torch.Tensor, how: tuple) -> torch.Tensor:
        """A matrix applied along both axes of squares.

        Args:
          how: name of the matrix, then the arguments that make it.
        """
        key = (*how, x.shape[-1])
        if key not in self._matrices:
            made = {
                "sample": filters.sampling,
                "blur": blur_matrix,
                "window": window_matrix,
            }[how[0]]
            self._matrices[key] = as_tensor(made(x.shape[-1], *how[1:]))
        matrix = self._matrices[key]
        return matrix @ x @ matrix.T


def _squared_lengths(patches: torch.Tensor) -> torch.Tensor:
    return (patches**2).sum(-1)


def _from_anywhere(
    query: torch.Tensor, patches: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Squared differences to the nearest of all patches.

    Args:
      lengths: squared lengths of the patches.
    """
    flat = query.reshape(-1, query.shape[-1])
    squared = torch.addmm(lengths, flat, patches.T, alpha=-2)
    candidates = patches[squared.topk(nearest._CANDIDATES, largest=False).indices]
    return _from_nearest(flat, candidates).reshape(query.shape)


def _from_nearest(query: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Squared differences to the nearest candidate.

    Candidates at nearly the same distance are averaged, as in
    `lfq_jax.memory_bank.nearest_neighbours`.
    """
    difference = (query[..., None, :] - candidates).square()
    squared = difference.sum(-1)
    least = squared.amin(-1, keepdim=True)
    reach = torch.minimum(least * (1 + nearest.TIE), squared.amax(-1, keepdim=True))
    weights = F.relu(reach + (least * nearest._ROUNDING + 1e-12) - squared)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights[..., None] * difference).sum(-2)


def _split_signs(x: torch.Tensor) -> torch.Tensor:
    """The positive and the negative part as separate channels."""
    return torch.cat([x.clamp(min=0), (-x).clamp(min=0)], 1)


def _largest_near_cells(x: torch.Tensor, grid: int) -> torch.Tensor:
    """The largest values near every cell of a grid."""
    step = max(1, x.shape[-1] // grid)
    window = max(filters._LINE_POOL_PX, step)
    before = (window - step + 1) // 2
    after = window - step - before
    padded = F.pad(x, [before, after, before, after])
    pooled = F.max_pool2d(padded, window, step)
    if pooled.shape[-1] == grid:
        return pooled
    index = torch.arange(grid) * pooled.shape[-1] // grid
    return pooled[:, :, index][:, :, :, index]
