"""Synthetic features: the last layer of a trained classifier learns from real and generated features.

A conditional GAN generates the inputs of the last layer, not images (after AFHN, Li et al. 2020). Few numbers are
much easier to generate; but what the classifier does not see in an image, its features do not have either.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor, nn

from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet, from_float, to_float
from gan_augment.generators.design import GANDesign, GANSettings
from gan_augment.generators.gan_training import GAN
from gan_augment.losses.adversarial import Wasserstein
from gan_augment.losses.penalties import Penalties
from gan_augment.methods.base import NUM_VALIDATIONS, MethodStage, about_classifier
from gan_augment.methods.supervised import Classifier, ClassifierSettings
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.heads import Divided
from gan_augment.networks.points import Vectors
from gan_augment.randomness import Stream, initialised
from gan_augment.settings import check_choice, check_integer, check_number
from gan_augment.stages import Stage

BATCH = 64  # real features of a step of the GAN
VIEWS = 10  # of each labelled image, under the transforms of the arm
SOURCES = ("gan", "gaussian")


@dataclass(frozen=True)
class SyntheticFeatures(Method):
    """How features are generated, and mixed into the batches of the last layer.

    Attributes:
        source: `gan`, a conditional Wasserstein GAN with a gradient penalty; or `gaussian`, a normal distribution for
            each class with one covariance for all, shrunk as Ledoit and Wolf (2004) do, which a GAN has to beat.
        per_class: Features per class to generate.
        share: Share of each batch that is generated, above 0 and below 1.
        images_seen: Real features that the critic sees, repeats counted.
        latent_dim: Length of a latent vector.
        width: Units of each of the three hidden layers of both networks.
        learning_rate: Of both Adams.

    Raises:
        ValueError: If a value is out of range.
    """

    source: str
    per_class: int
    share: float
    images_seen: int
    latent_dim: int
    width: int
    learning_rate: float

    def __post_init__(self) -> None:
        check_choice("synthetic_features.source", self.source, SOURCES)
        for name in ("per_class", "latent_dim", "width"):
            check_integer(f"synthetic_features.{name}", getattr(self, name), low=1)
        check_number("synthetic_features.share", self.share, 0, 0.99, open_low=True)
        check_integer("synthetic_features.images_seen", self.images_seen, low=BATCH)
        check_number("synthetic_features.learning_rate", self.learning_rate, 0, 1, open_low=True)

    @property
    def design(self) -> GANDesign:
        """The design of the GAN."""
        rate = self.learning_rate
        settings = GANSettings(self.images_seen, BATCH, 1, False, rate, rate, (0.0, 0.9), False, 10_000, 0.05)
        networks = Vectors(latent_dim=self.latent_dim, width=self.width), Projection()
        losses = Wasserstein(weight_clip=None), Penalties(gradient_penalty=10.0)
        return GANDesign(*networks, *losses, DiffAugment(0.0, 0.0, 0.0, 0.0, 0.0), settings)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "FeatureAugmentation":
        """Plan the stage that goes on from the classifier that the arm would have without this method.

        Raises:
            ValueError: If that classifier is not a network that is trained in steps, or there are further images.
        """
        classifier = plan.config.parts["classifier"]
        if not isinstance(classifier, ClassifierSettings):
            raise ValueError(
                f"augmentation.method={arm.method} generates features of a classifier that is trained in steps: use "
                "classifier=cnn, or another with num_steps"
            )
        if not isinstance(extra, NoExtra):
            raise ValueError(f"augmentation.method={arm.method} mixes features, no images: use extra=none")
        trained = plan.method(replace(arm, method="classifier"), extra)
        fields = {"trained": trained, "classifier": classifier, "synthetic_features": self}
        return FeatureAugmentation.plan(plan, arm.transform, **fields)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureAugmentation(MethodStage):
    """Goes on to train the last layer of a classifier, on features of labelled images and generated ones.

    Attributes:
        trained: Trains the classifier.
        classifier: How it is trained; the last layer takes as many steps again.
    """

    name, version = "synthetic_features", 1
    together = False
    reads = (*MethodStage.reads, "classifier", "synthetic_features")

    trained: Stage
    classifier: ClassifierSettings
    synthetic_features: SyntheticFeatures

    def check(self) -> None:
        """Check that the batches have room for both kinds."""
        settings, number = self.synthetic_features, self.num_generated
        if not 0 < number < self.classifier.batch_size:
            raise ValueError(
                f"synthetic_features.share={settings.share} of classifier.batch_size={self.classifier.batch_size} "
                f"makes {number} features of a batch generated ones: use another share"
            )

    @property
    def num_generated(self) -> int:
        """The number of generated features in a batch."""
        return round(self.synthetic_features.share * self.classifier.batch_size)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Generate features, train the last layer, and write the classifier."""
        settings, trained = self.classifier, self.trained.load(made["trained"])
        real = self.views(trained)
        generated = self.generate(real, folder / "tensorboard" / "generator")
        validation = features_of(trained, self.validation) if len(self.validation) else None
        divided = Divided(copy.deepcopy(trained.network))
        system = LastLayer(divided, settings, self.seed)
        number = self.num_generated
        parts = [Part(real, settings.batch_size - number, "order"), Part(generated, number, "order/extra")]
        data = ImageBatches(parts, settings.num_steps, self.seed, validation)
        every = None if validation is None else max(1, settings.num_steps // NUM_VALIDATIONS)
        self.hardware.fit(system, data, folder, validate_every=every)
        about = about_classifier(asdict(settings), self.labelled, self.decoding)
        save_weights(folder / FILE, about, classifier=system.classifier())

    def views(self, trained: TrainedClassifier) -> ImageSet:
        """Return features of the labelled images, several times under the transforms of the arm."""
        if self.transform is None:
            return features_of(trained, self.labelled)
        pixels = to_float(self.labelled.images[torch.arange(len(self.labelled))])
        stream = Stream(self.seed, "transform")
        views = [from_float(self.transform(pixels, stream.at(number))) for number in range(VIEWS)]
        return reduce(ImageSet.joined, (features_of(trained, replace(self.labelled, images=view)) for view in views))

    def generate(self, real: ImageSet, folder: Path) -> ImageSet:
        """Generate features of each class; a GAN is trained in a folder. They are not below 0 where no real one is."""
        labels = torch.arange(real.num_classes).repeat_interleave(self.synthetic_features.per_class)
        random, vectors = Stream(self.seed, "generated").at(0), real.images[:].flatten(1)
        mean, deviation = vectors.mean(dim=0), vectors.std(dim=0, correction=0) + 1e-3
        alike = replace(real, images=((vectors - mean) / deviation)[..., None, None])
        if self.synthetic_features.source == "gaussian":
            made = gaussian(alike.images[:].flatten(1), real.labels, labels, random, len(self.labelled))
        else:
            made = self.train_gan(alike, folder).sample(labels, random, torch.float32).flatten(1)
        made = made * deviation + mean
        made = made.clamp_min(0) if (vectors >= 0).all() else made
        return ImageSet(made[..., None, None], labels, real.class_names)

    def train_gan(self, real: ImageSet, folder: Path) -> GAN:
        """Train the GAN on features, `[N, F, 1, 1]`."""
        folder.mkdir(parents=True, exist_ok=True)
        hardware = replace(self.hardware, checkpoint_every=None)  # short enough to repeat
        design, shape, num_classes = self.synthetic_features.design, real.shape, real.num_classes
        generator = initialised(lambda: design.generator(shape, num_classes), self.seed, "init/generator")
        critic = initialised(lambda: design.discriminator(shape, num_classes), self.seed, "init/discriminator")
        system = GAN(generator, critic, design, real.class_counts, self.seed)
        batches = [Part(real, design.settings.batch_size, "order/gan")]
        hardware.fit(system, ImageBatches(batches, design.settings.num_steps, self.seed), folder)
        return system


class LastLayer(Classifier):
    """The last layer of a classifier, on features `[B, F, 1, 1]`; the others stay as they are."""

    def __init__(self, divided: Divided, settings: ClassifierSettings, seed: int) -> None:
        head = nn.Sequential(nn.Flatten(), divided.head.requires_grad_(True))
        super().__init__(head, settings, transform=None, mixing=None, seed=seed)
        self._divided = [divided]  # in a list: no part of this module

    def groups(self) -> list[dict[str, Any]]:
        """Return the weights of the last layer alone."""
        return [{"params": [*self.network.parameters()]}]

    def classifier(self) -> nn.Module:
        """Return the whole classifier."""
        return self._divided[0].whole()


def features_of(trained: TrainedClassifier, images: ImageSet) -> ImageSet:
    """Return the inputs of a classifier's last layer for images, as a set of points `[N, F, 1, 1]`."""
    found = trained.features(images, torch.arange(len(images)))
    return ImageSet(found[..., None, None], images.labels, images.class_names)


def gaussian(vectors: Tensor, labels: Tensor, wanted: Tensor, random: torch.Generator, images: int) -> Tensor:
    """Draw vectors from a normal distribution for each class, with one covariance for all.

    The covariance is (1 - s) S + s (tr S / F) I, where S is that of the vectors around the means of their classes, and
    s the shrinkage of Ledoit and Wolf (2004) for one vector of each image. S is divided by the images less the classes,
    where there are more: the means come from the same images.

    Args:
        vectors: `[N, F]`.
        labels: Their classes, `[N]`.
        wanted: Classes of the vectors to draw, `[M]`.
        random: Where the numbers are drawn.
        images: How many images they are of, the first so many vectors one of each.

    Returns:
        `[M, F]`.
    """
    means = torch.stack([vectors[labels == label].mean(dim=0) for label in range(int(labels.max()) + 1)])
    around = vectors - means[labels]
    shrinkage = float(ledoit_wolf_shrinkage(around[:images].double().numpy(), assume_centered=True))
    if images > len(means):
        around = around * (images / (images - len(means))) ** 0.5
    size = around.square().mean()  # the mean variance
    # Sums of the rows with standard normal weights have the covariance S, so its F x F numbers are never computed.
    weights = torch.randn(len(wanted), len(vectors), generator=random)
    spherical = torch.randn(len(wanted), vectors.shape[1], generator=random)
    drawn = (1 - shrinkage) ** 0.5 * weights @ around / len(vectors) ** 0.5 + (shrinkage * size) ** 0.5 * spherical
    return means[wanted] + drawn
