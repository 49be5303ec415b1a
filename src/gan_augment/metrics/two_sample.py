"""The two-sample test by nearest neighbours: whether generated images can be told from real ones."""

import torch
from torch import Tensor


def told_apart(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """Measure how many images have their nearest neighbour among their own kind.

    This is the leave-one-out accuracy of a nearest-neighbour classifier (Lopez-Paz and Oquab 2017), of the real and of
    the generated images apart (Xu et al. 2018): two samples `[N, F]` of one distribution have .5 each on average. Their
    mean hides poor images. In many dimensions, each image of noise is nearest to a real one: 1 and 0. A blurred image
    is nearest to another blurred one, and so is a real one: 0 and 1.

    Returns:
        The share of the real images and of the generated ones, each in [0, 1].

    Raises:
        ValueError: If the two are not equally many, or less than 2.

    Example:
        >>> told_apart(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [6.0]]))
        (1.0, 1.0)
    """
    if len(real) != len(generated) or len(real) < 2:
        raise ValueError(f"{len(real)} real and {len(generated)} generated images: use equally many, at least 2")
    both = torch.cat([real, generated]).flatten(1).float()
    distances = torch.cdist(both, both).fill_diagonal_(torch.inf)
    is_real = distances.argmin(dim=1) < len(real)
    return float(is_real[: len(real)].double().mean()), float((~is_real[len(real) :]).double().mean())
