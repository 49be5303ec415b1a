"""A cross-entropy of labels that compares images with each other too, as pure functions."""

import torch
from torch import Tensor

from gan_augment.training import replicas


def data_to_data_cross_entropy(
    features: Tensor, proxies: Tensor, labels: Tensor, margin: float, temperature: float
) -> Tensor:
    """Return D2D-CE (Kang et al. 2021): images are drawn to their labels and away from images of other labels.

    With f_i the features of image i, v_i the proxy of its label and j over the images of other labels, the mean over i
    (and over the judgements) of

        -log(a_i / (a_i + sum_j b_ij)),   a_i = exp(min(f_i . v_i - margin, 0) / temperature),
                                          b_ij = exp(max(f_i . f_j - (1 - margin), 0) / temperature).

    So an image that is close enough to its label, or far enough from another image, pulls and pushes no more.

    Args:
        features: Of the images of a batch, of unit length, `[B, E]` or, of several judgements, `[B, judgements, E]`.
        proxies: Of the images' labels, of unit length and the same shape.
        labels: `[B]`.
        margin: Similarity to the proxy from which on an image is close enough; the paper's margin of two images is 1
            less this, as in its authors' code.
        temperature: Above 0; a smaller one looks more at the worst images.
    """
    features, proxies, labels = map(replicas.gather, (features, proxies, labels))
    to_proxy = ((features * proxies).sum(dim=-1) - margin).clamp(max=0) / temperature
    similarities = torch.einsum("i...e,j...e->ij...", features, features)
    to_others = (similarities - (1 - margin)).clamp(min=0) / temperature
    same = (labels[:, None] == labels).view(*similarities.shape[:2], *[1] * (similarities.dim() - 2))
    all_terms = torch.cat([to_proxy[:, None], to_others.masked_fill(same, -torch.inf)], dim=1)
    return (all_terms.logsumexp(dim=1) - to_proxy).mean()
