"""The leak check: whether generated images carry traces of the discriminator's augmentation."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

GREY = 128  # the augmentation's fill, 0 in [-1, 1], as a uint8 pixel
TOLERANCE = 16  # levels: a generator draws grey, and black, with some noise
# Up to six statistics are tested at once. Real images against other real ones (digits, MNIST, Fashion-MNIST) then gave
# a false alarm in 1.6 % of 1,200 draws of 10 against 200 images, and in none of 1,500 draws of 100 against 100.
STANDARD_ERRORS = 4.0
EFFECT = 0.5  # in standard deviations, "medium" (Cohen 1988); thousands of images make any difference significant

SHARES = {
    "lifted": "colour: {made:.0%} of the generated images have no black pixel, {there:.0%} of the real ones",
    "hole": "cutout: {made:.0%} of the generated images have a mid grey rectangle, {there:.0%} of the real ones",
    "strip": "translation: {made:.0%} of the generated images have a mid grey edge, {there:.0%} of the real ones",
}


def leak_statistics(images: Tensor, cutout: float = 0.5) -> dict[str, Tensor]:
    """Measure the properties of each image, uint8 `[N, C, H, W]`, that `DiffAugment` changes.

    Returns:
        Float64 `[N]` each. In [0, 1]: `brightness`, the mean; `contrast`, the standard deviation over all pixels and
        channels; `saturation`, the RMS deviation from a pixel's mean over the channels, for coloured images only.
        1 if true, else 0: `lifted`, every value is more than 16 levels above black; `hole`, there is a mid grey
        rectangle of half the cutout's sides, which remains of a hole at a corner; `strip`, one of the four edges
        is mid grey from end to end, as after a translation. Mid grey is within 16 levels of 128 in all channels.
    """
    pixels = images.double() / 255
    found = {"brightness": pixels.mean(dim=(1, 2, 3)), "contrast": pixels.std(dim=(1, 2, 3), correction=0)}
    if images.shape[1] > 1:
        found["saturation"] = (pixels - pixels.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2, 3)).sqrt()
    found["lifted"] = (images.amin(dim=(1, 2, 3)) > TOLERANCE).double()

    coloured = ((images.short() - GREY).abs() > TOLERANCE).any(dim=1).float()  # [N, H, W], 0 where mid grey
    window = [max(2, round(cutout * side / 2)) for side in images.shape[2:]]
    found["hole"] = 1 - max_pool2d(coloured[:, None], window, stride=1).amin(dim=(1, 2, 3)).double()
    edges = coloured[:, 0], coloured[:, -1], coloured[..., 0], coloured[..., -1]
    found["strip"] = 1 - torch.stack([edge.amax(dim=1) for edge in edges]).amin(dim=0).double()
    return found


def leaks(real: Tensor, synthetic: Tensor, cutout: float = 0.5) -> list[str]:
    """Describe each trace of the discriminator's augmentation in generated images in one sentence.

    The augmentation widens the spread of brightness, contrast and saturation but keeps their means. So their spreads
    are compared (absolute deviations from the set's median: Brown and Forsythe 1974); a wrong mean is a poor generator,
    not a leak. Holes, strips and lifted blacks are compared by the share of the images that have them.

    A trace counts if the generated images have more of it by 4 standard errors (Welch) and by half a standard deviation
    (of the two sets' mean variance): a share of 12 % against none, or, for a normal distribution, a spread that is half
    as large again. Less of it never counts: a collapsed generator does not leak. Real images whose colours vary much
    hide a leak of colour; with 5 real images 6 to 9 % of sets without a leak give a false alarm.

    Args:
        real: uint8 `[N, C, H, W]`, at least 2, better 10 or more.
        synthetic: uint8 `[M, C, H, W]`, at least 2, the classes in the same proportions.
        cutout: Sides of the augmentation's hole, as a share of the image's.
    """
    found, of_real = [], leak_statistics(real, cutout)
    for name, made in leak_statistics(synthetic, cutout).items():
        there = of_real[name]
        if name in SHARES:
            if _exceeds(made, there):
                found.append(SHARES[name].format(made=float(made.mean()), there=float(there.mean())))
        elif _exceeds((made - made.median()).abs(), (there - there.median()).abs()):
            varies = f"{made.std():.3f} between generated images, by {there.std():.3f} between real ones"
            found.append(f"colour: {name} varies by {varies}")
    return found


def _exceeds(made: Tensor, there: Tensor) -> bool:
    """Return whether the mean of one sample `[M]` exceeds another's `[N]` by enough to count as a trace."""
    gap = made.mean() - there.mean()
    standard_error = (made.var() / len(made) + there.var() / len(there)).sqrt()
    deviation = ((made.var() + there.var()) / 2).sqrt()
    return bool(gap > STANDARD_ERRORS * standard_error and gap > EFFECT * deviation)
