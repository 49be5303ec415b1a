"""How sharp images are: the variance of the Laplacian, a measure of focus."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def laplacian_variance(images: Tensor) -> Tensor:
    """Measure the variance of the Laplacian of each image `[N, C, H, W]`, over all pixels and channels.

    It is near 0 in blurred images, and high in sharp ones and in noise (Pech-Pacheco et al. 2000). Beyond the border
    the image goes on as its last pixel. The result is float `[N]`, in squared units of the pixels.

    Example:
        >>> edge, ramp = torch.tensor([[0, 0, 9, 9]]), torch.tensor([[0, 3, 6, 9]])
        >>> laplacian_variance(torch.stack([edge, ramp])[:, None])
        tensor([40.5000,  4.5000])
    """
    planes = pad(images.flatten(0, 1)[:, None].float(), [1, 1, 1, 1], mode="replicate")
    changes = conv2d(planes, LAPLACIAN[None, None]).view(images.shape)
    return changes.var(dim=(1, 2, 3), correction=0)
