"""What a translated image must share with the image that it was made from, as pure functions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss


def patch_nce(output: Tensor, source: Tensor, temperature: float = 0.07) -> Tensor:
    """Return the contrastive loss of patches, a scalar (Park et al. 2020, CUT, equation 3).

    Each patch of the output should be more similar to the patch at its own place in the source than to the others of
    the same image. With v the output's vector and w those of the source, it is the mean of
    -log(exp(v . w_own / temperature) / sum_j exp(v . w_j / temperature)). The source's vectors have no gradient.

    Args:
        output: Unit vectors `[B, P, D]` of patches of the translated images.
        source: Those of the images that they were made from, at the same places.
        temperature: Above 0.

    Example:
        >>> vectors = torch.eye(2)[None]
        >>> round(patch_nce(vectors, vectors, temperature=1.0).item(), 4)  # log(1 + exp(-1))
        0.3133
    """
    similarities = output @ source.detach().transpose(1, 2) / temperature
    own = torch.arange(output.shape[1], device=output.device).expand(len(output), -1)
    return cross_entropy(similarities.flatten(0, 1), own.flatten())


def style_distance(output: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return how far the statistics of feature maps are from those wanted, a scalar.

    It is the mean squared difference of the means and standard deviations of each map, averaged over the layers (after
    Huang and Belongie 2017, equation 13, which sums norms).

    Args:
        output: Means and standard deviations of the translated images, `[B, 2C]` for each layer.
        wanted: Those of the images whose style they should have.

    Example:
        >>> round(style_distance([torch.tensor([[1.0, 2.0]])], [torch.tensor([[1.0, 5.0]])]).item(), 2)
        4.5
    """
    return torch.stack([mse_loss(one, other) for one, other in zip(output, wanted, strict=True)]).mean()
