"""Pictures of images, points and confusion matrices."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torchvision.utils import make_grid

from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.data.source import resize
from gan_augment.records.record import write_whole

NUM_COLUMNS = 8  # also the images per class, unless there is only one class
MOST_CLASSES = 20
MOST_POINTS = 2500
MAP_SIZE = 200  # pixels
LEAST_SIDE, MOST_SIDE = 48, 96  # pixels, between which a contact sheet shows images
LONGEST = 40  # letters of a name on a contact sheet


def draw_side_by_side(real: ImageSet, synthetic: ImageSet, path: Path) -> None:
    """Draw real images next to synthetic ones into a PNG, one row per class; points as a map."""
    num_rows = min(real.num_classes, MOST_CLASSES)
    names = real.class_names[:num_rows] if num_rows > 1 else ()
    figure = Figure(figsize=(7, 3.8 if num_rows == 1 else 0.6 + 0.36 * num_rows), layout="constrained")
    for axes, images, title in zip(figure.subplots(1, 2), (real, synthetic), ("real", "synthetic"), strict=True):
        axes.set_title(title)
        _show(axes, arrange(images, num_rows, pad_value=96), images.shape.height, names)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def contact_sheet(images: ImageSet) -> bytes:
    """Draw some images of each class as a PNG, spread over the class in their order, one row per class with its name.

    Points are a map. Drawn without Matplotlib, which would take as long as a short training.
    """
    num_rows = min(images.num_classes, MOST_CLASSES)
    number, spread = num_shown(images.shape, num_rows), []
    for label in range(num_rows):
        members = images.members(label)
        spread.append(members[torch.linspace(0, len(members) - 1, min(number, len(members))).long()])
    shown = images.subset(torch.cat(spread))
    if max(shown.shape.height, shown.shape.width) > MOST_SIDE:
        pixels = shown.images[torch.arange(len(shown))]
        shown = ImageSet(resize(pixels, MOST_SIDE, "letterbox"), shown.labels, shown.class_names)
    grid = arrange(shown, num_rows, pad_value=96).permute(1, 2, 0).numpy()
    scale = 1 if shown.shape.is_point else max(1, LEAST_SIDE // shown.shape.height)
    picture = Image.fromarray(grid.repeat(scale, axis=0).repeat(scale, axis=1))
    if num_rows > 1:
        font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)
        names = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in images.class_names[:num_rows]]
        margin = 8 + max(int(font.getlength(name)) for name in names)
        picture = ImageOps.expand(picture, (margin, 0, 0, 0), "white")
        for row, name in enumerate(names):
            middle = (row + 0.5) * scale * (shown.shape.height + 1)
            ImageDraw.Draw(picture).text((margin - 4, middle), name, "black", font, anchor="rm")
    picture.save(stream := BytesIO(), "PNG")
    return stream.getvalue()


def keep_contact_sheet(images: ImageSet, folder: Path) -> None:
    """Write the contact sheet of a study's images, unless it is there."""
    sheet = folder / f"{images.fingerprint}.png"
    if not sheet.exists():
        folder.mkdir(exist_ok=True)
        write_whole(contact_sheet(images), sheet)


def draw_rows(images: Tensor, num_columns: int, names: Sequence[str], title: str, path: Path) -> None:
    """Draw images, uint8 `[rows x columns, C, H, W]`, in rows into a PNG; `names` are those of the rows, or empty."""
    figure = Figure(figsize=(1 + 0.36 * num_columns, 0.6 + 0.36 * (len(images) // num_columns)), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title, fontsize=9, parse_math=False)  # the axes are narrower than some titles
    _show(axes, make_grid(images, nrow=num_columns, padding=1, pad_value=96), images.shape[2], names)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _show(axes: Axes, picture: Tensor, height: int, names: Sequence[str]) -> None:
    """Show a grid of images of some height, with the names of its rows."""
    axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([(height + 1) * (row + 0.5) for row in range(len(names))], names, parse_math=False)
    axes.tick_params(length=0)


def num_shown(shape: ImageShape, num_classes: int) -> int:
    """Return how many images of a class a picture shows: a row, a page of a single class, or a cloud of points."""
    return MOST_POINTS if shape.is_point else NUM_COLUMNS if num_classes > 1 else NUM_COLUMNS**2


def arrange(images: ImageSet, num_classes: int, pad_value: int = 0) -> Tensor:
    """Arrange images of some classes in one picture, uint8 `[3, H, W]`: one row per class, or a map of the points."""
    number, shown = num_shown(images.shape, num_classes), []
    for label in range(num_classes):
        members = images.images[images.members(label)[:number]]
        missing = 0 if images.shape.is_point else number - len(members)
        shown.append(torch.cat([members, members.new_full((missing, *members.shape[1:]), pad_value)]))
    if images.shape.is_point:
        return _map(torch.cat(shown))
    return make_grid(torch.cat(shown), nrow=NUM_COLUMNS, padding=1, pad_value=pad_value)


def _map(points: Tensor) -> Tensor:
    """Draw points `[N, 2, 1, 1]` in [-1, 1] as white pixels, uint8 `[3, S, S]`."""
    places = points.flatten(1).nan_to_num().add(1).mul(MAP_SIZE / 2).long()
    places = places[(places >= 0).all(dim=1) & (places < MAP_SIZE).all(dim=1)]
    picture = torch.zeros(3, MAP_SIZE, MAP_SIZE, dtype=torch.uint8)
    picture[:, MAP_SIZE - 1 - places[:, 1], places[:, 0]] = 255  # the second coordinate points up
    return picture


def draw_confusion_matrix(counts: Tensor, class_names: list[str]) -> Figure:
    """Draw a confusion matrix, int64 `[K, K]`: true classes in rows, predicted ones in columns."""
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
