"""The features of Inception, in which papers compare generators."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.fidelity import fewest_images, frechet_distance, kernel_distance

CHUNK = 64  # images at a time
NUM_FEATURES = 2048


@lru_cache(maxsize=1)
def inception_network() -> Any:
    """Return uint8 images `[B, 3, H, W]` -> features `[B, 2048]`, the Inception v3 of Heusel et al. 2017.

    torch-fidelity downloads the weights, 91 MB, when absent.

    Raises:
        ValueError: If the weights, or torch-fidelity, are not available.
    """
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"])
    except Exception as error:  # of many kinds: a missing library, the network, a broken file
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"measures.judge.inception=true, but Inception is not available ({reason}): pip install torch-fidelity, "
            "make sure that the weights can be downloaded, or set measures.judge.inception=false"
        ) from error


@torch.no_grad()
def inception_features(images: ImageSet, device: torch.device) -> Tensor:
    """Return Inception's features of images, float `[N, 2048]`, on the CPU; grey images get three equal channels."""
    if not len(images):
        return torch.empty(0, NUM_FEATURES)
    network, found = inception_network().to(device), []
    for chunk in torch.arange(len(images)).split(CHUNK):
        pixels = images.images[chunk].to(device)
        found.append(network(pixels.expand(-1, 3, -1, -1)).cpu())
    return torch.cat(found)


def inception_distances(real: Tensor, generated: Tensor) -> tuple[dict[str, float | None], list[str]]:
    """Measure the Frechet and the kernel Inception distance between features, float `[N, 2048]` and `[M, 2048]`.

    Returns:
        `frechet_inception_distance`, which needs 4,096 images of each kind, and `kernel_inception_distance`, which
        needs 20, each None with fewer; and the refusals, one sentence each.
    """
    needs, refusals = fewest_images(NUM_FEATURES), []
    found: dict[str, float | None] = {}
    for kind, measure in (("frechet", frechet_distance), ("kernel", kernel_distance)):
        name, fewest = f"{kind}_inception_distance", needs[f"judge_{kind}_distance"]
        enough = min(len(real), len(generated)) >= fewest
        found[name] = measure(real, generated) if enough else None
        if not enough:
            refusals.append(
                f"{name} is refused: it needs {fewest} images of each kind, there are {len(real)} real and "
                f"{len(generated)} generated ones; raise validation_per_class"
            )
    return found, refusals
