"""The appearance of images in numbers that people can name: brightness, position, size, slant, stroke width, colour."""

import math

import torch
from torch import Tensor

UNITS = {  # of each number, as they stand behind it
    "brightness": " %",
    "contrast": " %",
    "position to the right": " % of the side",
    "position down": " % of the side",
    "size": " % of the side",
    "slant": " degrees",
    "stroke width": " pixels",
    "red against green": " %",
    "yellow against blue": " %",
}
LUMA = (0.299, 0.587, 0.114)
FAINT = 0.5  # of the largest difference from the background: above it a pixel belongs to a stroke


def appearance(images: Tensor) -> dict[str, Tensor]:
    """Describe images, uint8 `[N, C, H, W]` with 1 or 3 channels.

    Returns:
        Float64 `[N]` by the names of `UNITS`; the two on colour only for 3 channels. `brightness` and `contrast` are
        the mean and the standard deviation of the luminance, in per cent of the pixel range. The next come from the
        moments of an image's weight, its difference from the background, which is the median of the border: the centre
        of gravity, 0 in the middle; `size`, twice the radius of gyration; and `slant`, the angle from the vertical of
        the line through the centres of the rows, positive if it leans to the right. `stroke width` is the area over
        half the perimeter, of the pixels with more than half of the largest difference. An empty image has 0 for all of
        these. `red against green` and `yellow against blue` are mean differences of channels.
    """
    pixels = images.double() / 255
    channels, height, width = pixels.shape[1:]
    grey = pixels[:, 0] if channels == 1 else torch.einsum("nchw,c->nhw", pixels, pixels.new_tensor(LUMA))
    border = torch.cat([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], dim=1)
    weight = (grey - border.median(dim=1).values[:, None, None]).abs()
    total = weight.sum(dim=(1, 2)).clamp_min(1e-9)

    def moment(values: Tensor) -> Tensor:
        return (weight * values).sum(dim=(1, 2)) / total

    down = torch.arange(height).double().sub((height - 1) / 2)[:, None].expand(height, width) / height
    right = torch.arange(width).double().sub((width - 1) / 2).expand(height, width) / width
    y, x = moment(down), moment(right)
    yy, xx, xy = moment(down**2) - y**2, moment(right**2) - x**2, moment(down * right) - x * y
    is_stroke = weight > FAINT * weight.amax(dim=(1, 2), keepdim=True)
    padded = torch.nn.functional.pad(is_stroke, (1, 1, 1, 1))
    edges = (padded[:, 1:] ^ padded[:, :-1]).sum(dim=(1, 2)) + (padded[:, :, 1:] ^ padded[:, :, :-1]).sum(dim=(1, 2))
    found = {
        "brightness": 100 * grey.mean(dim=(1, 2)),
        "contrast": 100 * grey.flatten(1).std(dim=1, correction=0),
        "position to the right": 100 * x,
        "position down": 100 * y,
        "size": 200 * (yy + xx).clamp_min(0).sqrt(),
        "slant": -torch.atan2(xy * width, yy.clamp_min(1e-9) * height) * 180 / math.pi,
        "stroke width": 2 * is_stroke.sum(dim=(1, 2)) / edges.clamp_min(1),
    }
    if channels == 3:
        red, green, blue = pixels.mean(dim=(2, 3)).unbind(dim=1)
        found |= {"red against green": 100 * (red - green), "yellow against blue": 100 * ((red + green) / 2 - blue)}
    return found
