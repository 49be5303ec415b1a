"""Pictures for a person to look at."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from gan_augment.data.image_set import ImageSet

NUM_COLUMNS = 8
MOST_CLASSES = 20


def draw_side_by_side(real: ImageSet, synthetic: ImageSet, path: Path) -> None:
    """Draw real images beside synthetic ones, one row a class, into a PNG.

    Args:
        real: Labelled images.
        synthetic: Generated images, with the labels they are meant to show.
        path: The file to write.
    """
    num_rows = min(real.num_classes, MOST_CLASSES)
    figure = Figure(figsize=(7, 0.6 + 0.36 * num_rows), layout="constrained")
    for axes, images, title in zip(figure.subplots(1, 2), (real, synthetic), ("real", "synthetic"), strict=True):
        grid = make_grid(_rows(images, num_rows), nrow=NUM_COLUMNS, padding=1, pad_value=96)
        height = images.shape.height + 1
        axes.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks(
            [height * row + height / 2 for row in range(num_rows)], real.class_names[:num_rows], parse_math=False
        )
        axes.tick_params(length=0)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _rows(images: ImageSet, num_rows: int) -> Tensor:
    rows = []
    for label in range(num_rows):
        members = images.images[(images.labels == label).nonzero().squeeze(1)[:NUM_COLUMNS]]
        missing = NUM_COLUMNS - len(members)
        rows.append(torch.cat([members, members.new_full((missing, *members.shape[1:]), 96)]))
    return torch.cat(rows)


def draw_confusion_matrix(counts: Tensor, class_names: list[str]) -> Figure:
    """Draw a confusion matrix, int64 `[K, K]`: a row a true class, a column a predicted one."""
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if len(class_names) <= MOST_CLASSES:
        axes.set_xticks(range(len(class_names)), class_names, parse_math=False)
        axes.set_yticks(range(len(class_names)), class_names, parse_math=False)
        for row, column in counts.nonzero().tolist():
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=color, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class", title="test images")
    return figure
