"""Validators: scores of a classifier on images without labels, by which one may choose among its checkpoints.

Higher is better for all. None of them sees a label of the images that the classifier is for. Musgrave et al. 2022
compare them.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor
from torch.nn.functional import normalize

TEMPERATURE = 0.05  # of the soft neighbourhoods (Saito et al. 2021)
MOST_DIMENSIONS = 64  # of the features, for DEV and class AMI


def negative_entropy(probabilities: Tensor) -> float:
    """Return the mean entropy of predictions `[N, K]`, in nats, with the sign changed.

    Example:
        >>> round(negative_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])), 4)
        -0.3466
    """
    return float(probabilities.xlogy(probabilities).sum(dim=1).mean())


def information(probabilities: Tensor) -> float:
    """Return the information of predictions `[N, K]` on images: the entropy of their mean less their mean entropy.

    Example:
        >>> round(information(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), 4)  # log 2
        0.6931
    """
    mean = probabilities.mean(dim=0)
    return negative_entropy(probabilities) - float(mean.xlogy(mean).sum())


def nuclear_norm(probabilities: Tensor) -> float:
    """Return the nuclear norm of predictions `[N, K]` as a share of the largest possible one (BNM, Cui et al. 2020).

    Example:
        >>> round(nuclear_norm(torch.eye(4)), 4), round(nuclear_norm(torch.full((4, 4), 0.25)), 4)
        (1.0, 0.25)
    """
    number, classes = probabilities.shape
    largest = (min(number, classes) * number) ** 0.5
    return float(torch.linalg.matrix_norm(probabilities.double(), "nuc")) / largest


def neighbourhood_density(probabilities: Tensor) -> float:
    """Return the soft neighbourhood density of predictions `[N, K]` (SND, Saito et al. 2021).

    It is the mean entropy, in nats, of the softmax over each image's similarities to all others: large if every image
    has many equally near neighbours.

    Example:
        >>> round(neighbourhood_density(torch.tensor([[1.0, 0.0]] * 3)), 4)  # log 2: two equal neighbours
        0.6931
    """
    unit = normalize(probabilities.double(), dim=1)
    similarity = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return -negative_entropy(similarity.softmax(dim=1))


def embedded_risk(training: Tensor, validation: Tensor, target: Tensor, losses: Tensor) -> float:
    """Return the deep embedded validation risk with the sign changed (DEV, You et al. 2019).

    The losses `[V]` of validation images of the first domain are weighted by how likely their features are in the
    second: by a logistic regression between the features of training images of the first, `[N, F]`, and of images of
    the second, `[M, F]`. A control variate makes the mean less noisy.

    Args:
        training: Features of training images of the first domain.
        target: Features of images of the second.
        validation: Features of the validation images, `[V, F]`.
        losses: Of the validation images.
    """
    telling = LogisticRegression(max_iter=1000)
    telling.fit(np.concatenate([training, target]), np.repeat([0, 1], [len(training), len(target)]))
    of_target = telling.predict_proba(validation.numpy())[:, 1]
    weights = len(training) / len(target) * of_target / np.clip(1 - of_target, 1e-6, None)
    weighted = weights * losses.double().numpy()
    variance = float(np.var(weights, ddof=1))
    control = -float(np.cov(weighted, weights)[0, 1]) / variance if variance > 0 else 0.0
    return -float(weighted.mean() + control * (weights.mean() - 1))


def cluster_agreement(features: Tensor, predicted: Tensor, num_classes: int) -> float:
    """Return the adjusted mutual information of predicted classes `[N]` and clusters of features `[N, F]`.

    The class-based AMI of Musgrave et al. 2022: at most 1, and 0 on average for predictions by chance. There are as
    many clusters as classes, of features of length 1.
    """
    clusters = KMeans(min(num_classes, len(features)), n_init=1, random_state=0).fit_predict(normalize(features, dim=1))
    return float(adjusted_mutual_info_score(predicted.numpy(), clusters))


def reduced(*features: Tensor) -> list[Tensor]:
    """Return several sets of features, `[N, F]` each, in the few dimensions in which all together vary most.

    They are float32 of unit mean square.
    """
    together = torch.cat(features).float()
    together = together - together.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = min(MOST_DIMENSIONS, *together.shape)
        found = together @ torch.pca_lowrank(together, size, center=False, niter=1)[2]
    scale = found.square().mean().sqrt().clamp(min=1e-12)
    return list((found / scale).split([len(some) for some in features]))
