"""The measure `domains`: images of two domains, and how far apart a classifier's features keep them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from gan_augment.artefacts.drawing import MOST_CLASSES, NUM_COLUMNS, draw_rows
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import resize
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.metrics.two_sample import told_apart
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section
from gan_augment.records.received import printable
from gan_augment.stages import Stage
from gan_augment.training.hardware import Events

FEWEST, MOST = 20, 500  # images of each domain
NUM_COMPONENTS = 50  # of the features, for t-SNE and TensorBoard
PERPLEXITY = 30.0  # of t-SNE: about how many neighbours count
THUMBNAIL = 32  # pixels, at most, of an image in TensorBoard
GREY = 96  # of a place without an image
NO_LABEL = (0.8, 0.8, 0.8)  # the colour of an image without a label
SHARES = ("told_apart", "told_apart_source", "told_apart_target")
IMAGES, PLANE = "domains.png", "domain_features.png"
OF_IMAGES = Section(
    "Labelled images of the source, by class, and images of the target's pool, drawn at random.", {}, picture=IMAGES
)
OF_FEATURES = Section(
    "Does the classifier keep source and target apart? Told apart is the share of images whose nearest neighbour is of "
    "their own domain, among equally many of both: .5 if their features are alike, 1 if no image is close to one of "
    "the other domain. The features are the inputs of the last linear layer. In the picture, t-SNE puts images with "
    "similar features close together; its other distances mean nothing. TensorBoard's projector has the same images.",
    {
        "domains.told_apart": "told apart",
        "domains.told_apart_source": "of the source",
        "domains.told_apart_target": "of the target",
        "domains.images": "images of each",
    },
    picture=PLANE,
    each_arm=True,
)


@dataclass(frozen=True)
class Domains(Measure):
    """Pictures of two domains, and of the classifier's features of their images.

    The source's images are of the validation, the target's of the test, or of the pool while test stays closed.

    `domains`: `told_apart_source` and `told_apart_target`, the shares of `told_apart` in the features of equally many
    `images` of each domain, at most 500; and their mean, `told_apart`. These are None with fewer than 20 images.
    """

    needs = "classifier"

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Apply to two domains."""
        return None if split.domains is None else super().stages(plan, split, stages)

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Say that it does not apply to images of one domain."""
        return ("the measure domains does not apply: these images are of one domain",) if split.domains is None else ()

    def find(self, finished: Finished) -> Findings:
        """Draw both domains, and measure the classifier's features of them."""
        split, classifier = finished.split, finished.classifier
        assert split.domains is not None
        assert classifier is not None
        names = tuple(map(printable, split.domains))
        sections = {}
        if not split.labelled.shape.is_point:
            draw_domains(split.labelled, split.pool, names, finished.folder / IMAGES)
            sections["Domains"] = OF_IMAGES
        source, target = split.validation, split.test if finished.part == "test" else split.pool
        number = min(len(source), len(target), MOST)
        metrics: dict[str, float | None] = {**dict.fromkeys(SHARES), "images": number}
        if number < FEWEST:
            what = "validation" if len(source) < FEWEST else "target"
            why = f"domains measures no features: it needs {FEWEST} {what} images, and there are {number}"
            return Findings({"domains": metrics}, (why,), sections=sections)
        drawn = [torch.randperm(len(one), generator=Stream(0, "domains").at(0))[:number] for one in (source, target)]
        features = [classifier.features(*one) for one in zip((source, target), drawn, strict=True)]
        shares = told_apart(*features)
        components, places = laid_out(torch.cat(features))
        images = source.subset(drawn[0]), target.subset(drawn[1])
        draw_plane(places, images, names, finished.folder / PLANE)
        project(components, images, names, finished.folder)
        metrics |= dict(zip(SHARES, (sum(shares) / 2, *shares), strict=True))
        return Findings({"domains": metrics}, sections=sections | {"Features of the domains": OF_FEATURES})


def draw_domains(source: ImageSet, target: ImageSet, names: Sequence[str], path: Path) -> None:
    """Draw a row for each domain: labelled images of the source, by class, and images of the target at random."""
    num_classes = min(source.num_classes, MOST_CLASSES)
    of_each = max(1, NUM_COLUMNS // num_classes)
    labelled = [source.images[source.members(label)[:of_each]] for label in range(num_classes)]
    drawn = torch.randperm(len(target), generator=Stream(0, "domains/pool").at(0))[: num_classes * of_each]
    rows = [_padded(one, of_each) for one in labelled] + [_padded(target.images[drawn], num_classes * of_each)]
    draw_rows(torch.cat(rows), num_classes * of_each, names, f"{names[0]} by class, {names[1]} at random", path)


def _padded(images: Tensor, number: int) -> Tensor:
    return torch.cat([images, images.new_full((number - len(images), *images.shape[1:]), GREY)])


def laid_out(features: Tensor) -> tuple[Tensor, Tensor]:
    """Lay out features `[N, F]` in a plane, by t-SNE (van der Maaten and Hinton 2008) of their principal components.

    Returns:
        The components, `[N, 50]` or fewer, and the places, `[N, 2]`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the order of sums must not depend on the machine
        components = PCA(min(NUM_COMPONENTS, *features.shape), random_state=0).fit_transform(features.numpy())
        perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
        places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(components)
    return torch.from_numpy(components), torch.from_numpy(places)


def draw_plane(places: Tensor, images: tuple[ImageSet, ImageSet], names: Sequence[str], path: Path) -> None:
    """Draw images at their places `[N, 2]`: the marker is their domain, and the colour their class.

    Images without a label are light grey. With more than 20 classes, the colour is the domain.
    """
    class_names, figure = images[0].class_names, Figure(figsize=(7, 5), layout="constrained")
    axes, by_class = figure.subplots(), images[0].num_classes <= MOST_CLASSES
    palette = [colormaps["tab10" if images[0].num_classes <= 10 else "tab20"](label) for label in range(MOST_CLASSES)]
    handles = []
    for number, (name, marker, some) in enumerate(zip(names, ("o", "x"), images, strict=True)):
        here = places.split([len(one) for one in images])[number].numpy()
        labels = some.labels.tolist() if by_class else [number] * len(some)
        colours = [palette[label] if label >= 0 else NO_LABEL for label in labels]
        width = 0 if marker == "o" else 1
        axes.scatter(here[:, 0], here[:, 1], s=18, c=colours, marker=marker, linewidths=width, alpha=0.8)
        colour = "#555" if by_class else palette[number]
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, label=name))
    if by_class:
        shown = enumerate(class_names)
        handles += [Line2D([], [], linestyle="", marker="s", color=palette[label], label=name) for label, name in shown]
    for text in figure.legend(handles=handles, fontsize=8, loc="outside right upper", frameon=False).get_texts():
        text.set_parse_math(False)
    axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110, metadata={"Software": None})


def project(components: Tensor, images: tuple[ImageSet, ImageSet], names: Sequence[str], folder: Path) -> None:
    """Write components `[N, C]` for TensorBoard's projector, with class, domain and a small picture of each image."""
    about = [
        (printable(one.class_names[label]) if label >= 0 else "-", name)
        for one, name in zip(images, names, strict=True)
        for label in one.labels.tolist()
    ]
    pixels = torch.cat([one.images[:] for one in images])
    small = None
    if pixels.dtype == torch.uint8 and pixels.shape[1] in (1, 3):
        small = resize(pixels, min(THUMBNAIL, *pixels.shape[2:]), "letterbox").float() / 255
    logger = Events(folder)
    shutil.rmtree(Path(logger.log_dir) / "00000", ignore_errors=True)  # of a trial that runs again
    logger.experiment.add_embedding(components, about, small, tag="domains", metadata_header=["class", "domain"])
    logger.experiment.close()
