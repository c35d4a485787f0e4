"""Maps > **pictures** > page: what an answer goes by, laid over its image, and the filters of the first layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from leyden.figures import DOTS_PER_INCH, new_figure

SHARE_OF_MAP = 0.55  # of an overlay's colour where the map is at its highest
MOST_FILTERS = 64


def overlays(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], path: Path) -> None:
    """Draws images, uint8 [N, C, H, W], a column each, and below each one every way's map [N, H, W] over it."""
    num_rows, num_columns = 1 + len(maps), len(images)
    figure = new_figure(0.6 + 1.6 * num_columns, 1.75 * num_rows + 0.35, layout=None)
    margins = {"left": 0.6 / (0.6 + 1.6 * num_columns), "right": 0.99, "bottom": 0.02, "top": 0.9, "wspace": 0.06}
    grid = figure.subplots(num_rows, num_columns, squeeze=False, gridspec_kw=margins | {"hspace": 0.06})
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for row, name in zip(grid, ("image", *maps), strict=True):
        row[0].set_ylabel(name, fontsize=9)
    for number, (column, image, title) in enumerate(zip(grid.T, images, titles, strict=True)):
        grey = np.asarray(image.float().mean(0) / 255)
        column[0].imshow(np.asarray(image.permute(1, 2, 0).expand(-1, -1, 3)), interpolation="nearest")
        column[0].set_title(title, fontsize=7)
        for axes, found in zip(column[1:], maps.values(), strict=True):
            strength = np.asarray(found[number].cpu())
            axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.imshow(
                strength, cmap="inferno", vmin=0, vmax=1, alpha=SHARE_OF_MAP * strength, interpolation="nearest"
            )
    figure.savefig(path, dpi=DOTS_PER_INCH)


def first_filters(network: nn.Module) -> Tensor | None:
    """The weights [F, C, h, w] of the first convolution or patch embedding; of an MLP on images there is none."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            return module.weight.detach().float().cpu()
    return None


def filters(weights: Tensor, path: Path) -> None:
    """Draws filters [F, C, h, w], each brought to 0 to 1 by its own largest weight; grey is zero."""
    shown = weights[:MOST_FILTERS] if weights.shape[1] in (1, 3) else weights[:MOST_FILTERS].mean(1, keepdim=True)
    num_columns = min(8, len(shown))
    num_rows = -(-len(shown) // num_columns)
    figure = new_figure(0.9 * num_columns + 0.1, 0.9 * num_rows + 0.1, layout=None)
    margins = {"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.98, "wspace": 0.1, "hspace": 0.1}
    grid = figure.subplots(num_rows, num_columns, squeeze=False, gridspec_kw=margins)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, weight in zip(grid.flat, shown, strict=False):
        largest = weight.abs().max().clamp_min(1e-12)
        axes.imshow(
            np.asarray((0.5 + weight / (2 * largest)).permute(1, 2, 0).expand(-1, -1, 3)), interpolation="nearest"
        )
    figure.savefig(path, dpi=DOTS_PER_INCH)
