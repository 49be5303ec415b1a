"""The diversity hinge: a penalty of the generator whose images of a class differ less than real ones do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_augment.losses.penalties import Penalties
from gan_augment.settings import check_number
from gan_augment.training import replicas

KEPT = 0.95  # of the running means of the real images, at each step


@dataclass(frozen=True)
class Diversity(Penalties):
    """The diversity hinge, and, if they have weights, the penalties on the discriminator's slope.

    Attributes:
        diversity: Weight of the hinge.

    Raises:
        ValueError: If a setting is out of range.
    """

    diversity: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("penalty.diversity", self.diversity, 0, 10_000)


class DiversityHinge(nn.Module):
    """The mean over feature maps of max(0, 1 - d(G(z)) / d(x)), times a weight.

    The mean distance d of two images with one label in a batch is taken in frozen features, and only between images
    that went through the same augmentation: others differ by their augmentation. That of real images is a running mean.
    Mao et al. (2019) enlarge such distances without a bound; here real images set it.

    Args:
        group: Neighbours in the batch that share their augmentation.
        num_maps: Feature maps of an image.
    """

    real: Tensor

    def __init__(self, weight: float, group: int, num_maps: int) -> None:
        super().__init__()
        self.weight, self.group = weight, group
        self.register_buffer("real", torch.zeros(num_maps + 1))  # running means of what `distances` returns

    @torch.no_grad()
    def watch(self, maps: Sequence[Tensor], labels: Tensor) -> None:
        """Take the feature maps `[B, ...]` of a batch of real images with labels `[B]` into the running mean."""
        self.real.lerp_(distances(maps, labels, self.group), 1 - KEPT)

    def forward(self, maps: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the penalty, a scalar, of the feature maps `[B, ...]` of generated images with labels `[B]`.

        It is 0 where no two images of a group have the same label.
        """
        found = distances(maps, labels, self.group)
        fake, real = (one[:-1] / one[-1].clamp_min(1e-9) for one in (found, self.real))
        hinge = (real - fake).relu() / real.clamp_min(1e-9)
        return self.weight * (found[-1] > 0) * hinge.mean()


def distances(maps: Sequence[Tensor], labels: Tensor, group: int) -> Tensor:
    """Return for each feature map the sum of the distances of all pairs, and at the end the number of pairs.

    A pair has the same label and lies in the same group of neighbours in the batch.

    Returns:
        Float32 `[len(maps) + 1]`, Euclidean distances.

    Example:
        >>> distances([torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])], torch.tensor([1, 1, 0]), group=8)
        tensor([5., 1.])
    """
    maps, labels = [*map(replicas.gather, maps)], replicas.gather(labels)
    groups = torch.arange(len(labels), device=labels.device) // group
    pairs = ((labels[:, None] == labels) & (groups[:, None] == groups)).float().triu(1)
    vectors = [one.flatten(1).float() for one in maps]
    # Not as a product of matrices, which is inexact where images are alike.
    found = [torch.cdist(one, one, compute_mode="donot_use_mm_for_euclid_dist") for one in vectors]
    return torch.stack([*((one * pairs).sum() for one in found), pairs.sum()])
