"""A detector of preset `cpu` written anew in PyTorch, to be timed beside the exports.

The same weights and the same arithmetic, in the way of PyTorch: NCHW tensors in
channels_last, `conv2d`, `batch_norm`, `interpolate`, `max_pool2d`, `topk`.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.memory_bank import distances as reference
from lfq_jax.memory_bank import filter_bank as filters
from lfq_jax.memory_bank import logistic_head as reader
from lfq_jax.memory_bank import nearest_neighbours as nearest
from lfq_jax.memory_bank import orientation
from lfq_jax.model.scoring import WINDOW_SIGMAS
from lfq_jax.training import losses

EPSILON = 1e-5  # of the batch norms, flax's default
MOMENTUM = 0.1  # of their running statistics, in PyTorch's sense
LAST = torch.channels_last


class TorchDetector:
    """From bytes [b p p 3] to maps and the smoothed maximum."""

    def __init__(self, saved: DetectorRecord) -> None:
        model = saved.model
        if model.discriminator_input != "residual" or model.memory_bank is None:
            raise ValueError("only preset cpu is written anew: a residual, a reference")
        self.saved, self.stem = saved, model.stem
        self.levels, self.window = model.memory_bank.levels, model.memory_bank.window
        params = saved.variables.params
        self.networks = _tensors(params), _tensors(saved.variables.statistics)
        memory = saved.variables.memory_bank
        assert memory is not None and saved.variables.logistic_head is not None
        self.mean, self.matrix = map(_tensor, memory.sight.filters)
        self.patches = _tensor(memory.filters.patches)
        self.of_patches = _lengths(self.patches)
        self.usual = None
        if memory.usual is not None:
            depth = reference._depth(*[model.image_px // self.stem] * 2)
            usual = np.asarray(memory.usual)
            self.usual = _tensor(usual[depth.clip(max=len(usual) - 1)])
        self.grain = memory.orientation and tuple(map(_tensor, memory.orientation))
        self.of_grain = None if self.grain is None else _lengths(self.grain[0])
        self.weight = model.memory_bank.orientation_weight
        self.reader = tuple(map(_tensor, saved.variables.logistic_head))
        self.share = model.memory_bank.head_weight
        self.score_head_weight = model.memory_bank.score_head_weight
        self.kernels = {
            name: _tensor(kernel).permute(3, 2, 0, 1).contiguous()
            for name, kernel in (
                ("structure", filters.derivatives()),
                ("lines", filters._elongated()),
            )
        }
        if memory.stages:
            raise ValueError("a pretrained encoder is not written anew")
        self.poses = memory.poses and tuple(map(_tensor, memory.poses))
        self.rows = self._rows(_tensor(memory.filters.places))
        self._matrices: dict[Any, torch.Tensor] = {}

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        unit = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        unit = unit.contiguous(memory_format=LAST)
        of_network, of_reader = self._log_odds(unit)
        of_map, of_score = (
            (1 - share) * of_network + share * of_reader
            for share in (self.share, self.score_head_weight)
        )
        if self.grain is not None:
            says = self._undisturbed(torch.sigmoid(of_map))
            of_map = of_map + self.weight * says * self._strangeness(unit)
        of_map, of_score = torch.sigmoid(of_map), torch.sigmoid(of_score)
        config = self.saved.score
        maps = self._smooth(of_map, config.smoothing_sigma)
        score = self._smooth(of_score, config.max_sigma).amax((1, 2))
        return maps.numpy(), score.numpy()

    def _log_odds(self, unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of an anomaly, b h w, by the discriminator and by the regression."""
        reconstruction = self._reconstructed(unit)
        distances = self._compared(unit)
        residual = self._residual(unit, reconstruction)
        of_network = self._discriminated(torch.cat([distances, residual], 1))
        weights, bias = self.reader
        seen = [
            distances if not sigma else self._across(distances, ("blur", sigma, False))
            for sigma in reader.BLURS
        ]
        read = torch.einsum("bfhw,f->bhw", torch.cat(seen, 1), weights)
        wide = self._across(read, ("blur", reader.WIDE, True))
        read = read - reader.CONTRAST * wide + bias
        return of_network[:, 1] - of_network[:, 0], self._of_pixels(read)

    def _of_pixels(self, cells: torch.Tensor) -> torch.Tensor:
        wide = cells.repeat_interleave(self.stem, 1)
        return wide.repeat_interleave(self.stem, 2)

    def _undisturbed(self, probability: torch.Tensor) -> torch.Tensor:
        """How much the grain about every pixel's cell says, b h w."""
        reach = orientation.CELL_PX // self.stem
        most = F.max_pool2d(probability[:, None], self.stem)
        most = F.max_pool2d(most, 2 * reach + 1, stride=1, padding=reach)
        return 1 - self._of_pixels(most[:, 0])

    def _strangeness(self, unit: torch.Tensor) -> torch.Tensor:
        """How strangely grain runs, b h w."""
        assert self.grain is not None and self.of_grain is not None
        patches, mean, deviation = self.grain
        side = unit.shape[-1]
        cells = max(1, side // orientation.CELL_PX)
        lightness, described = unit.mean(1, keepdim=True), []
        for octave in range(orientation._OCTAVES):
            lightness = F.avg_pool2d(lightness, 2) if octave else lightness
            energy = self._filtered(lightness, "structure") ** 2
            how = ("sample", cells, orientation.sigma_of_cell)
            energy = self._across(energy, how) + orientation._FLOOR
            for kind in (energy[:, 0::2], energy[:, 1::2]):
                described.append((kind / kind.mean(1, keepdim=True)).log())
        query = torch.cat(described, 1).permute(0, 2, 3, 1)
        found = _from_anywhere(query, patches, self.of_grain)
        found = found.sum(-1).sqrt().log1p()[:, None]
        for sign in (-1, 1):  # minima, then maxima
            found = sign * F.max_pool2d(F.pad(sign * found, [1] * 4, "replicate"), 3, 1)
        standard = (found - mean) / deviation
        grid = side // self.stem
        cells_of_grid = F.interpolate(standard, (grid, grid), mode="bilinear")
        return self._of_pixels(cells_of_grid[:, 0].tanh())

    def _reconstructed(self, unit: torch.Tensor) -> torch.Tensor:
        params, statistics = (each["reconstructive"] for each in self.networks)
        x = _space_to_depth(unit, self.stem)
        for i in sorted(params["encoder"]["stages"]):
            x = F.max_pool2d(x, 2) if i else x
            stage = params["encoder"]["stages"][i]
            x = _stage(x, stage, statistics["encoder"]["stages"][i])
        z = _conv(x, params["pre"])
        if self.saved.model.quantizer.normalisation == "layer":  # pyright: ignore
            z = z - z.mean(1, keepdim=True)  # its scale does not change a sign
        x = _conv(torch.where(z >= 0, 1.0, -1.0), params["post"])
        for i in sorted(params["decoder"]["stages"]):
            stage = params["decoder"]["stages"][i]
            x = _stage(_upsampled(x), stage, statistics["decoder"]["stages"][i])
        return _depth_to_space(_conv(x, params["decoder"]["head"]), self.stem)

    def _discriminated(self, cells: torch.Tensor) -> torch.Tensor:
        params, statistics = (each["discriminative"] for each in self.networks)
        x, skips = cells, []
        for i in sorted(params["down"]):
            x = F.max_pool2d(x, 2) if i else x
            x = _stage(x, params["down"][i], statistics["down"][i])
            skips.append(x)
        skips.pop()
        for i in sorted(params["up"]):
            x = _stage(_upsampled(x), params["up"][i], statistics["up"][i])
            x = torch.cat([x, skips.pop()], 1)
            x = _stage(x, params["join"][i], statistics["join"][i])
        x = _conv(torch.cat([x, cells], 1), params["head"])
        return _depth_to_space(x, self.stem)

    def _residual(
        self, unit: torch.Tensor, reconstruction: torch.Tensor
    ) -> torch.Tensor:
        difference = unit - reconstruction
        colour = F.avg_pool2d(difference, self.stem).abs()
        detail = F.avg_pool2d(difference.abs(), self.stem).mean(1, keepdim=True)
        return 10 * torch.cat([colour, detail], 1)

    def _compared(self, unit: torch.Tensor) -> torch.Tensor:
        features = self._described(unit).permute(0, 2, 3, 1)
        whitened = (features - self.mean) @ self.matrix
        found = [_from_anywhere(whitened, self.patches, self.of_patches)]
        if self.rows is not None:
            found.append(self._in_place(whitened))
        if self.poses is not None:
            self._require_upright(whitened)
        sizes = filters.group_sizes(self.levels)
        lengths = [
            torch.stack([p.sum(-1).sqrt() for p in d.split(sizes, -1)], -1)
            for d in found
        ]
        distances = torch.log1p(torch.cat(lengths, -1))
        if self.usual is not None:
            distances = distances - self.usual
        return distances.permute(0, 3, 1, 2)

    def _require_upright(self, query: torch.Tensor) -> None:
        """The search for other turns. What follows where one fits is not written."""
        assert self.poses is not None
        axes, turned = self.poses
        coarse = F.avg_pool2d((query @ axes).permute(0, 3, 1, 2), 2)
        reach, flat = 2, turned[:, :, 2:-2, 2:-2].flatten(2)
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
            raise ValueError("an image lies in another turn: take parts that never do")

    def _rows(self, places: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        """For every row, the patches that are near it, their lengths, and which may
        not be taken for a column."""
        k, h, w, f = places.shape
        if not k:
            return None
        reach = self.window
        # A row beyond the border is farther than any patch.
        padded = F.pad(places, (0, 0, 0, 0, reach, reach), value=1e6)
        near = [padded[:, i : i + h] for i in range(2 * reach + 1)]
        rows = torch.stack(near, 2).permute(1, 0, 2, 3, 4).reshape(h, -1, f)
        column = torch.arange(w).repeat(k * (2 * reach + 1))
        is_far = (torch.arange(w)[:, None] - column).abs() > reach
        return rows.contiguous(), (rows**2).sum(-1), is_far

    def _in_place(self, query: torch.Tensor) -> torch.Tensor:
        assert self.rows is not None
        rows, lengths, is_far = self.rows
        found = []
        for each in query:
            squared = torch.baddbmm(
                lengths[:, None], each, rows.transpose(1, 2), alpha=-2
            )
            squared.masked_fill_(is_far, torch.inf)
            found_at = squared.topk(nearest._CANDIDATES, largest=False).indices
            index = found_at.flatten(1)[..., None].expand(-1, -1, rows.shape[-1])
            candidates = rows.gather(1, index).unflatten(1, found_at.shape[1:])
            found.append(_from_nearest(each, candidates))
        return torch.stack(found)

    def _described(self, unit: torch.Tensor) -> torch.Tensor:
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
                lines = _signs(self._filtered(lightness, "lines"))
                energies.append(_strongest(lines, grid))
            features += [(e + filters._ENERGY_FLOOR).sqrt() for e in energies]
        return torch.cat(features, 1)

    def _filtered(self, lightness: torch.Tensor, name: str) -> torch.Tensor:
        kernel = self.kernels[name]
        radius = kernel.shape[-1] // 2
        return F.conv2d(F.pad(lightness, [radius] * 4, mode="reflect"), kernel)

    def _structure(self, lightness: torch.Tensor) -> torch.Tensor:
        response = self._filtered(lightness, "structure")
        return torch.cat([response[:, 0::2].abs(), _signs(response[:, 1::2])], 1)

    def _smooth(self, maps: torch.Tensor, share: float) -> torch.Tensor:
        if share <= 0:
            return maps
        sigma_px = share * maps.shape[-1]
        window = 2 * max(1, round(WINDOW_SIGMAS * sigma_px)) + 1
        return self._across(maps[:, None], ("window", window, sigma_px))[:, 0]

    def _across(self, x: torch.Tensor, how: tuple) -> torch.Tensor:
        """One matrix along both axes of a square."""
        key = (*how, x.shape[-1])
        if key not in self._matrices:
            made = {
                "sample": filters.sampling,
                "blur": reader.blur_matrix,
                "window": losses._window_matrix,
            }[how[0]]
            self._matrices[key] = _tensor(made(x.shape[-1], *how[1:]))
        matrix = self._matrices[key]
        return matrix @ x @ matrix.T


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def _tensors(tree: Any) -> Any:
    """Kernels as OIHW in channels_last, all else as it is."""
    if isinstance(tree, dict):
        return {name: _tensors(each) for name, each in tree.items()}
    array = _tensor(tree)
    if array.ndim == 4:
        array = array.permute(3, 2, 0, 1).contiguous(memory_format=LAST)
    return array


def _lengths(patches: torch.Tensor) -> torch.Tensor:
    return (patches**2).sum(-1)


def _from_anywhere(
    query: torch.Tensor, patches: torch.Tensor, of_patches: torch.Tensor
) -> torch.Tensor:
    """`of_patches` are their `_lengths`."""
    flat = query.reshape(-1, query.shape[-1])
    squared = torch.addmm(of_patches, flat, patches.T, alpha=-2)
    candidates = patches[squared.topk(nearest._CANDIDATES, largest=False).indices]
    return _from_nearest(flat, candidates).reshape(query.shape)


def _from_nearest(query: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """As `lfq_jax.memory_bank.nearest_neighbours` weighs patches that are as near."""
    difference = (query[..., None, :] - candidates).square()
    squared = difference.sum(-1)
    least = squared.amin(-1, keepdim=True)
    reach = torch.minimum(least * (1 + nearest.TIE), squared.amax(-1, keepdim=True))
    weights = F.relu(reach + (least * nearest._ROUNDING + 1e-12) - squared)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights[..., None] * difference).sum(-2)


def _conv(x: torch.Tensor, params: dict[str, torch.Tensor]) -> torch.Tensor:
    kernel = params["kernel"]
    return F.conv2d(x, kernel, params["bias"], padding=kernel.shape[-1] // 2)


def _stage(
    x: torch.Tensor, params: Any, statistics: Any, *, training: bool = False
) -> torch.Tensor:
    """Convolution, batch norm and ReLU by turns. Training moves the statistics."""
    for i in sorted(params["units"]):
        unit, norm = params["units"][i], statistics["units"][i]["norm"]
        scale = unit["norm"]
        x = F.batch_norm(
            _conv(x, unit["conv"]),
            norm["mean"],
            norm["var"],
            scale["scale"],
            scale["bias"],
            training=training,
            momentum=MOMENTUM,
            eps=EPSILON,
        )
        x = x.relu() if training else x.relu_()
    return x


def _upsampled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _space_to_depth(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Channels in the order (row, column, colour) of a block."""
    b, c, h, w = x.shape
    blocks = x.reshape(b, c, h // factor, factor, w // factor, factor)
    blocks = blocks.permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(b, -1, h // factor, w // factor).contiguous(
        memory_format=LAST
    )


def _depth_to_space(x: torch.Tensor, factor: int) -> torch.Tensor:
    b, _, h, w = x.shape
    blocks = x.reshape(b, factor, factor, -1, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(b, -1, h * factor, w * factor)


def _signs(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x.clamp(min=0), (-x).clamp(min=0)], 1)


def _strongest(x: torch.Tensor, grid: int) -> torch.Tensor:
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
