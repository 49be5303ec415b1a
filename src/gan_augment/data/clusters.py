"""Clusters: groups of similar images within a class, and their centres."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gan_augment.data.image_set import ImageSet, ImageShape, to_float

SIDE = 14  # images are shrunk to at most this side, in pixels
CHUNK = 4096  # images at a time


def divide_classes(images: ImageSet, num_clusters: int, seed: int) -> ImageSet:
    """Divide each class into clusters by k-means over shrunken pixels (Lloyd 1982). The seed decides the start.

    The label of cluster j of class c is c times `num_clusters` plus j. In a class with fewer different images some
    clusters stay empty.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    clusters = torch.zeros(len(images), dtype=torch.int64)
    for label in range(images.num_classes):
        members = images.members(label)
        pixels = _shrunken(images, members).numpy()
        number = min(num_clusters, len(np.unique(pixels, axis=0)))
        if number > 1:
            with threadpool_limits(1):  # the order of sums must not depend on the machine
                means = KMeans(number, n_init=1, random_state=seed % 2**32).fit(pixels)
            clusters[members] = torch.from_numpy(means.labels_).long()
    names = [f"{name}/{cluster}" for name in images.class_names for cluster in range(num_clusters)]
    return ImageSet(images.images, images.labels * num_clusters + clusters, names)


def num_features(shape: ImageShape) -> int:
    """Return the length of a cluster's centre for images of a shape."""
    return shape.channels * math.prod(_side(shape))


def cluster_centres(images: ImageSet) -> Tensor:
    """Return the centre of each cluster, the mean of its shrunken images; the images' labels are their clusters.

    Returns:
        Float32 `[K, F]`, centred on the mean over all images and scaled so that an image's centre has a squared norm
        of 1 on average, as a one-hot vector has: a linear layer of centres then compares to an embedding of labels.
        Zeros for a label without images.
    """
    features, counts = num_features(images.shape), images.class_counts
    sums = torch.zeros(images.num_classes, features)
    for members in torch.arange(len(images)).split(CHUNK):
        sums.index_add_(0, images.labels[members], _shrunken(images, members))
    centres = sums / counts.clamp_min(1).unsqueeze(1) - sums.sum(dim=0) / len(images)
    centres[counts == 0] = 0
    mean_square = (counts * centres.square().sum(dim=1)).sum() / len(images)
    return centres / mean_square.sqrt().clamp_min(1e-6)


def draw_clusters(labels: Tensor, counts: Tensor, num_clusters: int, random: torch.Generator) -> Tensor:
    """Draw a cluster, int64 `[N]`, of each label's class, in proportion to the clusters' numbers of images.

    The labels, int64 `[N]` in [0, K), are classes with images; the counts are int64 `[K x num_clusters]`. The draws are
    made on the CPU.
    """
    if num_clusters == 1:
        return labels
    shares = counts.view(-1, num_clusters)[labels].double()
    return labels * num_clusters + torch.multinomial(shares, 1, generator=random).squeeze(1)


def _side(shape: ImageShape) -> tuple[int, int]:
    return min(SIDE, shape.height), min(SIDE, shape.width)


def _shrunken(images: ImageSet, members: Tensor) -> Tensor:
    """Return the shrunken images at some indices as vectors, float32 `[M, C x S x S]`."""
    side, chunks = _side(images.shape), (images.images[some] for some in members.split(CHUNK))
    return torch.cat([adaptive_avg_pool2d(to_float(chunk), side) for chunk in chunks]).flatten(1)
