"""How labels enter a GAN. A new way is one class here, one YAML under `conf/conditioning/`, one test."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gan_augment.data.clusters import num_features
from gan_augment.data.image_set import ImageShape
from gan_augment.losses.contrastive import data_to_data_cross_entropy
from gan_augment.networks.architecture import Architecture, FeatureExtractor
from gan_augment.settings import check_integer, check_number


class Conditioning(ABC):
    """Builds whole networks, which take labels, from an architecture's bodies, which do not.

    Attributes:
        divides_batch: Whether networks see only some images of a batch.
        knows_classes: Whether the generator makes images of a given class; otherwise the GAN trains without classes.
        clusters: Clusters of each class that the networks distinguish. Their labels then number clusters: first those
            of class 0, then those of class 1, and so on.
        tells_generated: Whether the further loss of `split` on generated images is the discriminator's too, not only
            the generator's.
    """

    knows_classes: bool = True
    divides_batch: bool = False
    clusters: int = 1
    tells_generated: bool = True

    @abstractmethod
    def generator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1]."""

    @abstractmethod
    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (images `[B, C, H, W]` in [-1, 1], labels `[B]`) -> logits `[B]`, high where real.

        If the architecture's body judges an image several times, logits are `[B, judgements]`. If the architecture has
        `features`, their outputs take the place of the images. What else it returns, `split` takes apart.
        """

    def split(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the logits among the discriminator's outputs, and a further loss of both players.

        The outputs are those of images with labels `[B]`, all real or all generated.
        """
        return outputs, 0.0


@dataclass(frozen=True)
class _LabelBehindLatent(Conditioning):
    """A generator whose latent vector is followed by an embedding of the label, `embedding_dim` long."""

    embedding_dim: int = 32
    clusters: int = 1

    def __post_init__(self) -> None:
        check_integer("conditioning.embedding_dim", self.embedding_dim, low=1)
        check_integer("conditioning.clusters", self.clusters, low=1)

    def generator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with latent and embedding as its input."""
        embedding = LabelEmbedding(num_classes, self.embedding_dim, self.clusters, num_features(shape))
        return LabelBehind(embedding, architecture.generator(shape, architecture.latent_dim + self.embedding_dim))


class Projection(_LabelBehindLatent):
    """The discriminator's logit includes how well the features fit the label (Miyato and Koyama 2018)."""

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with a projection head."""
        body = architecture.discriminator(shape)
        return architecture.finish(LabelProjection(body, num_classes, self.clusters, num_features(shape)))


class Concat(_LabelBehindLatent):
    """Both networks take the label as a further input (Mirza and Osindero 2014).

    The discriminator takes an embedding the size of an image as a further channel; spectral norm leaves it alone, since
    it is an input and not a layer.
    """

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return an unconditional discriminator of images with one more channel."""
        plane = LabelEmbedding(num_classes, shape.height * shape.width, self.clusters, num_features(shape))
        return LabelBehind(plane, _unconditional_head(architecture, replace(shape, channels=shape.channels + 1)))


@dataclass(frozen=True)
class AuxiliaryClassifier(_LabelBehindLatent):
    """The discriminator also tells the label, and both players want it to be right: AC-GAN (Odena et al. 2017).

    Attributes:
        weight: Weight of the cross-entropy of the labels, of real and of generated images.

    Raises:
        ValueError: If a setting is out of range.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("conditioning.weight", self.weight, 0, 1000, open_low=True)

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with two heads: outputs `[..., 2]`, logits and labels' log-probabilities."""
        return architecture.finish(LabelClassifier(architecture.discriminator(shape), num_classes * self.clusters))

    def split(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the logits, and the weighted cross-entropy of the labels, a scalar."""
        logits, log_probabilities = outputs.unbind(-1)
        return logits, -self.weight * log_probabilities.mean()


@dataclass(frozen=True)
class ReACGAN(_LabelBehindLatent):
    """As `AuxiliaryClassifier`, with unit vectors and `data_to_data_cross_entropy` (Kang et al. 2021).

    Features and weights of labels of any length let an AC-GAN's gradients explode; unit vectors do not. Comparing
    images with each other keeps the images of a class from being alike. The discriminator learns from real ones alone.

    Attributes:
        weight: Weight of the cross-entropy of the labels.
        sphere_dim: Length of the unit vectors.
        margin: Similarity to its label from which on an image is close enough.
        temperature: Of the similarities.

    Raises:
        ValueError: If a setting is out of range.
    """

    tells_generated = False

    weight: float = 0.5
    sphere_dim: int = 512
    margin: float = 0.98
    temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("conditioning.weight", self.weight, 0, 1000, open_low=True)
        check_integer("conditioning.sphere_dim", self.sphere_dim, low=2)
        check_number("conditioning.margin", self.margin, 0.5, 1)
        check_number("conditioning.temperature", self.temperature, 0, 100, open_low=True)

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with two heads: outputs `[..., 1 + 2 x sphere_dim]` of `LabelSphere`."""
        num_labels = num_classes * self.clusters
        return architecture.finish(LabelSphere(architecture.discriminator(shape), num_labels, self.sphere_dim))

    def split(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the logits, and the weighted cross-entropy of the labels, a scalar."""
        logits, features, proxies = outputs.split([1, self.sphere_dim, self.sphere_dim], dim=-1)
        loss = data_to_data_cross_entropy(features, proxies, labels, self.margin, self.temperature)
        return logits.squeeze(-1), self.weight * loss


class Unconditional(Conditioning):
    """Labels are ignored: the images show any class (Goodfellow et al. 2014)."""

    knows_classes = False

    def generator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with the latent alone as its input."""
        return WithoutLabel(architecture.generator(shape, architecture.latent_dim))

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the architecture's body with a linear head."""
        return WithoutLabel(_unconditional_head(architecture, shape))


class PerClass(Conditioning):
    """One unconditional GAN per class; each sees only its images, and a step without any leaves it unchanged."""

    divides_batch = True

    def generator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return one body per class."""
        return LabelRouted([architecture.generator(shape, architecture.latent_dim) for _ in range(num_classes)])

    def discriminator(self, architecture: Architecture, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return one body with a linear head per class."""
        return LabelRouted([_unconditional_head(architecture, shape) for _ in range(num_classes)])


def _unconditional_head(architecture: Architecture, shape: ImageShape) -> nn.Module:
    """Return images `[B, C, H, W]` -> logits `[B]`: the architecture's body with a linear head."""
    body = architecture.discriminator(shape)
    return architecture.finish(nn.Sequential(body, nn.Linear(body.num_features, 1), Squeeze()))


class Squeeze(nn.Module):
    """Drop the last dimension, of length 1."""

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits `[..., 1]` to `[...]`."""
        return logits.squeeze(-1)


class LabelEmbedding(nn.Module):
    """The embedding of a label: that of its class plus, if there are clusters, a linear map of its cluster's centre.

    So similar clusters share what is learned from their images. With an independent embedding for each cluster, many
    clusters make the images worse (Casanova et al. 2021, section 1).

    Attributes:
        centres: The clusters' centres, `[num_classes x clusters, num_features]`; zeros until they are set.
    """

    centres: Tensor

    def __init__(self, num_classes: int, dim: int, clusters: int = 1, num_features: int = 0) -> None:
        super().__init__()
        self.clusters = clusters
        self.of_class = nn.Embedding(num_classes, dim)
        self.of_centre = None
        if clusters > 1:
            self.register_buffer("centres", torch.zeros(num_classes * clusters, num_features))
            self.of_centre = nn.Linear(num_features, dim, bias=False)
            nn.init.normal_(self.of_centre.weight)  # as for an embedding

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels `[B]` to vectors `[B, dim]`."""
        of_class: Tensor = self.of_class(labels // self.clusters)
        return of_class if self.of_centre is None else of_class + self.of_centre(self.centres[labels])


def set_centres(networks: nn.Module, centres: Tensor) -> None:
    """Set the clusters' centres `[K x clusters, F]` in every label embedding of the networks."""
    for module in networks.modules():
        if isinstance(module, LabelEmbedding):
            module.centres.copy_(centres)


class WithoutLabel(nn.Module):
    """A network that takes the inputs alone, without their labels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the network's outputs for the inputs."""
        return self.network(inputs)


class LabelBehind(nn.Module):
    """A network whose inputs are followed by a learned embedding of the label.

    The embedding makes vectors longer; to images it adds one channel, with a number for each pixel.
    """

    def __init__(self, embedding: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.network = network

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Map inputs `[B, F]` or `[B, C, H, W]` and labels `[B]` to the network's outputs."""
        return self._behind(inputs, self.embedding(labels))

    def between(self, inputs: Tensor, labels: Tensor, others: Tensor, share: float) -> Tensor:
        """Do so with an embedding that is a share of the way, in [0, 1], from those of labels to those of others."""
        return self._behind(inputs, torch.lerp(self.embedding(labels), self.embedding(others), share))

    def _behind(self, inputs: Tensor, embedded: Tensor) -> Tensor:
        return self.network(torch.cat([inputs, embedded.view(len(inputs), -1, *inputs.shape[2:])], dim=1))


class LabelProjection(nn.Module):
    """The logit w . h + e_y . h + b of the features h of an image with label y (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, body: FeatureExtractor, num_classes: int, clusters: int = 1, num_features: int = 0) -> None:
        super().__init__()
        self.body = body
        self.linear = nn.Linear(body.num_features, 1)
        self.embedding = LabelEmbedding(num_classes, body.num_features, clusters, num_features)
        # As small as the weights of the linear part, so that neither part drowns the other at the start.
        for weight in self.embedding.parameters():
            nn.init.normal_(weight, std=body.num_features**-0.5)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images `[B, C, H, W]` and labels `[B]` to logits `[B]`, or `[B, judgements]` of several judgements."""
        features = self.body(images)
        embedding = self.embedding(labels).view(len(labels), *[1] * (features.dim() - 2), -1)
        return self.linear(features).squeeze(-1) + (embedding * features).sum(dim=-1)


class LabelClassifier(nn.Module):
    """Two linear heads on a body: whether an image is real, and which label it has."""

    def __init__(self, body: FeatureExtractor, num_labels: int) -> None:
        super().__init__()
        self.body = body
        self.linear = nn.Linear(body.num_features, 1)
        self.classifier = nn.Linear(body.num_features, num_labels)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images `[B, C, H, W]` to `[B, 2]`, or `[B, judgements, 2]`: logit, log-probability of the label `[B]`."""
        features = self.body(images)
        of_labels = self.classifier(features).log_softmax(dim=-1)
        of_label = of_labels[torch.arange(len(labels), device=labels.device), ..., labels]
        return torch.stack([self.linear(features).squeeze(-1), of_label], dim=-1)


class LabelSphere(nn.Module):
    """Two heads on a body: whether an image is real, and a unit vector to compare with that of its label."""

    def __init__(self, body: FeatureExtractor, num_labels: int, dim: int) -> None:
        super().__init__()
        self.body = body
        self.linear = nn.Linear(body.num_features, 1)
        self.projection = nn.Linear(body.num_features, dim)
        self.proxies = nn.Embedding(num_labels, dim)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images `[B, C, H, W]` to `[B, ..., 1 + 2 x dim]`: logit, unit vector, unit vector of the label `[B]`."""
        features = self.body(images)
        vectors, proxies = normalize(self.projection(features), dim=-1), normalize(self.proxies(labels), dim=-1)
        proxies = proxies.view(len(labels), *[1] * (features.dim() - 2), -1).expand_as(vectors)
        return torch.cat([self.linear(features), vectors, proxies], dim=-1)


class LabelRouted(nn.Module):
    """One network per label, in the order of the labels; each takes only the inputs with its label."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Map inputs `[B, ...]` and labels `[B]` to outputs `[B, ...]`, in the order of the inputs."""
        order = labels.argsort(stable=True)
        parts = inputs[order].split(labels.bincount(minlength=len(self.networks)).tolist())
        # Empty parts are left out: batch norm would take its statistics from them.
        outputs = [network(part) for network, part in zip(self.networks, parts, strict=True) if len(part)]
        return torch.cat(outputs)[order.argsort()]
