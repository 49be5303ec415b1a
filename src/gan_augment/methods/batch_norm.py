"""Adaptive batch norm: a trained classifier whose batch norm gets the pool's statistics (AdaBN, Li et al. 2016)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_augment.arm import Arm
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import ShuffledIndices
from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.methods.base import MethodStage, about_classifier
from gan_augment.methods.supervised import ClassifierSettings
from gan_augment.networks.statistics import batch_norms
from gan_augment.stages import Stage

NEEDED = (
    "augmentation.method=batch_norm adapts the statistics of batch norm, but this classifier has none that is trained: "
    "use classifier=cnn_batch_norm or classifier=resnet18"
)


@dataclass(frozen=True)
class BatchNormMethod(Method):
    """Adaptive batch norm. It has no settings of its own: those of the classifier apply."""

    sees = "pool_images"

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "AdaptBatchNorm":
        """Plan the stage that adapts the classifier that the arm would have without this method.

        Raises:
            ValueError: If that classifier is not a network that is trained in steps.
        """
        classifier = plan.config.parts["classifier"]
        if not isinstance(classifier, ClassifierSettings):
            raise ValueError(NEEDED)
        sees = "labelled" if isinstance(extra, NoExtra) else arm.sees
        trained = plan.method(replace(arm, sees=sees, method="classifier"), extra)
        fields = {"trained": trained, "pool": plan.views.pool, "classifier": classifier}
        return AdaptBatchNorm.plan(plan, "none", **fields)  # test images are not transformed either


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptBatchNorm(MethodStage):
    """Computes the statistics of a trained classifier's batch norm anew, over the pool.

    Attributes:
        trained: Trains the classifier.
        classifier: How it is trained.
    """

    name, version = "batch_norm", 1
    reads = (*MethodStage.reads, "classifier")

    trained: Stage
    pool: ImageSet
    classifier: ClassifierSettings

    def check(self) -> None:
        """Check that the network has batch norm."""
        with torch.device("meta"):  # without numbers
            network = self.classifier.build(self.labelled.shape, self.labelled.num_classes)
        if not batch_norms(network):
            raise ValueError(NEEDED)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Write the classifier with the statistics of the pool."""
        network, pool, device = self.trained.load(made["trained"]).network, self.pool, self.hardware.device
        order = ShuffledIndices(len(pool), self.seed, "order/pool").between(0, len(pool))
        # Batches of equal sizes, up to 1, because each counts as much.
        batches = order.tensor_split(max(1, len(pool) // self.classifier.batch_size))
        adapt(network, (to_float(pool.images[batch].to(device)) for batch in batches))
        about = about_classifier(asdict(self.classifier), self.labelled, self.decoding)
        save_weights(folder / FILE, about | {"pool_images": len(pool)}, classifier=network)


@torch.no_grad()
def adapt(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running means and variances of batch norm by their averages over batches; change no weight.

    While a batch passes, it is normalised by its own statistics. In contrast to `torch.optim.swa_utils.update_bn`,
    dropout and stochastic depth stay off: they would change the variances.

    Args:
        network: Ends in evaluation mode.
        batches: Images `[B, C, H, W]` in [-1, 1].
    """
    network.eval()
    for layer in batch_norms(network):
        layer.reset_running_stats()
        layer.momentum = None  # the average counts all batches alike
        layer.train()
    for images in batches:
        network(images)
    network.eval()
